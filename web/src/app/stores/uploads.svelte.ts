/**
 * Uploads of this visit. They go on while other screens are looked at, and end when the vault is locked.
 *
 * What is local is checked first: an empty file, and one whose name and size the vault has already, are left out with a
 * reason. Everything else is the vault's `Sealer`.
 */

import { toHex } from "../../vault/bytes.ts";
import type { Interrupted, Sealer, Upload } from "../../vault/index.ts";
import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { network } from "./network.svelte.ts";
import { Resource } from "./resource.svelte.ts";

export type Outcome = "working" | "paused" | "failed" | "done" | "nothing" | "known" | "empty" | "cancelled";

export interface Row {
  readonly key: string;
  readonly name: string;
  readonly size: number;
  readonly outcome: Outcome;
  readonly upload: Upload | undefined;
  /** The file itself, where it may still be added by hand. */
  readonly file: File | undefined;
}

function outcomeOf(upload: Upload): Outcome {
  if (upload.phase === "done") return upload.entry?.records === 0 ? "nothing" : "done";
  if (upload.phase === "paused" || upload.phase === "failed" || upload.phase === "cancelled") return upload.phase;
  return "working";
}

function isSame(name: string, size: number): (one: { readonly name: string; readonly size: number }) => boolean {
  return (one) => one.name === name && one.size === size;
}

class Uploads {
  rows: Row[] = $state.raw([]);
  /** Begun in an earlier visit and not finished. */
  interrupted: readonly Interrupted[] = $state.raw([]);
  #sealer: Sealer | undefined;
  #left = 0;

  constructor() {
    owner.onLock(() => this.#close());
    network.onReturn(() => this.retryFailed("unavailable"));
  }

  get working(): number {
    return this.rows.filter((row) => row.outcome === "working").length;
  }

  /** What an earlier visit left, without what goes on by now. */
  get unfinished(): Interrupted[] {
    return this.interrupted.filter((one) => !this.rows.some((row) => row.name === one.name && row.size === one.size));
  }

  /** The files of this visit that hold something to learn, by their ids. */
  get learnable(): string[] {
    return this.rows.flatMap(({ outcome, upload }) =>
      outcome === "done" && upload?.entry != null ? [toHex(upload.entry.objectId)] : [],
    );
  }

  get #ready(): Sealer {
    if (this.#sealer === undefined) throw new Error("uploads were not opened");
    return this.#sealer;
  }

  /** Ready to take files; says what an earlier visit left unfinished. */
  async open(): Promise<readonly Interrupted[]> {
    if (this.#sealer === undefined) {
      const { Sealer } = await import("../../vault/sealing.ts");
      // What a closed vault's uploads still say is not of this visit any more.
      const sealer = new Sealer(owner.vault, owner.transport, (upload) => {
        if (this.#sealer === sealer) this.#changed(upload);
      });
      this.#sealer ??= sealer;
    }
    await this.#look();
    return this.interrupted;
  }

  /** Queue these; `known` are the vault's files. */
  add(files: Iterable<File>, known: readonly FileRow[]): void {
    for (const file of files) {
      const name = file.webkitRelativePath === "" ? file.name : file.webkitRelativePath;
      if (file.size === 0) this.#leaveOut(file, name, "empty");
      else if (known.some(isSame(name, file.size)) || this.#taken(name, file.size)) this.#leaveOut(file, name, "known");
      else this.#ready.add(file, { name });
    }
  }

  /** Whether this visit stored or stores it already; what failed or was paused goes on when it is chosen again. */
  #taken(name: string, size: number): boolean {
    return this.rows.filter((row) => ["working", "done", "nothing"].includes(row.outcome)).some(isSame(name, size));
  }

  /** Add one that was left out. */
  addAnyway(row: Row): void {
    if (row.file === undefined) return;
    this.rows = this.rows.filter((one) => one !== row);
    this.#ready.add(row.file, { name: row.name });
  }

  pause(row: Row): void {
    if (row.upload !== undefined) this.#ready.pause(row.upload.id);
  }

  resume(row: Row): void {
    if (row.upload !== undefined) this.#ready.resume(row.upload.id);
  }

  async cancel(row: Row): Promise<void> {
    if (row.upload !== undefined) await this.#ready.cancel(row.upload.id);
  }

  pauseAll(): void {
    for (const row of this.rows) if (row.outcome === "working") this.pause(row);
  }

  resumeAll(): void {
    for (const row of this.rows) if (row.outcome === "paused") this.resume(row);
  }

  /** Try again what failed, or only what failed for this reason. */
  retryFailed(slug?: string): void {
    for (const row of this.rows) {
      if (row.outcome === "failed" && (slug === undefined || row.upload?.error?.slug === slug)) this.resume(row);
    }
  }

  clearOver(): void {
    this.rows = this.rows.filter((row) => ["working", "paused", "failed"].includes(row.outcome));
  }

  async discard(one: Interrupted): Promise<void> {
    await this.#ready.discard(one.objectId);
    await this.#look();
  }

  async #look(): Promise<void> {
    const sealer = this.#sealer;
    const found = (await sealer?.interrupted()) ?? [];
    if (this.#sealer === sealer) this.interrupted = found;
  }

  #leaveOut(file: File, name: string, outcome: Outcome): void {
    const row = { key: `left ${this.#left++}`, name, size: file.size, outcome, upload: undefined, file };
    this.rows = [...this.rows, row];
  }

  #changed(upload: Upload): void {
    const key = `upload ${upload.id}`;
    const row: Row = {
      key,
      name: upload.name,
      size: upload.size,
      outcome: outcomeOf(upload),
      upload,
      file: undefined,
    };
    const at = this.rows.findIndex((one) => one.key === key);
    this.rows = at < 0 ? [...this.rows, row] : this.rows.with(at, row);
    if (upload.phase === "done" || upload.phase === "cancelled") void this.#look();
    if (upload.phase === "done") void owner.sawHead();
  }

  #close(): void {
    const sealer = this.#sealer;
    this.#sealer = undefined;
    void sealer?.close();
    this.rows = [];
    this.interrupted = [];
  }
}

export const uploads = new Uploads();

/** What the upload screen needs before it takes a file: the vault's files, and what was left unfinished. */
export function uploadStore(): Resource<{ readonly known: readonly FileRow[] }> {
  return new Resource(async (signal) => {
    const [known] = await Promise.all([owner.refresh(signal), uploads.open()]);
    return { known };
  });
}
