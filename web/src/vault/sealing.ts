/**
 * Uploads: files are sealed in a Worker, their blocks are sent where they are missing, and the vault lists them.
 *
 * One file is sealed at a time; finished ones are listed together when the queue is empty or a batch is full. An upload
 * that was cut (a reload, a closed tab, a pause) goes on when the same file is given again: the journal knows its key,
 * and the other side says which blocks it has. An upload belongs to one tab at a time.
 */
import { Outbox } from "./blocks.ts";
import { type Bytes, random, toHex } from "./bytes.ts";
import { checkNames } from "./entry.ts";
import { AllodError, Busy, Conflict, Unavailable } from "./errors.ts";
import type { Entry, Transport } from "./interfaces.ts";
import { type Begun, type Journal, type Unfinished, mayLeave } from "./journal.ts";
import type { Piece } from "./sealfile.ts";
import { sealInWorker } from "./sealclient.ts";
import { newHeader } from "./segments.ts";
import type { SealedPayload, Vault } from "./vault.ts";

const BATCH = 256; // objects
const BATCH_BYTES = 256 << 20;

export type Phase =
  "waiting" | "reading" | "sealing" | "asking" | "sending" | "committing" | "done" | "paused" | "failed" | "cancelled";

/** One file on its way into the vault. `sealed` and `sent` count bytes of the file. */
export interface Upload {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly phase: Phase;
  readonly sealed: number;
  readonly sent: number;
  /** Whether blocks of an earlier, interrupted upload are used again. */
  readonly resumed: boolean;
  readonly error: AllodError | null;
  readonly entry: Entry | null;
}

/** An upload that an earlier visit began here: choose the same file again and it goes on. */
export interface Interrupted {
  readonly objectId: Bytes;
  readonly name: string;
  readonly size: number;
  readonly added: number;
}

interface Running {
  upload: Upload;
  readonly file: File;
  readonly notes: string;
  stop: AbortController;
  /** What it becomes in the vault; null before it was first sealed. */
  objectId: Bytes | null;
  /** Lets go of the upload's lock, by which other tabs leave it alone. */
  release: () => void;
}

const OVER: ReadonlySet<Phase> = new Set(["done", "paused", "failed", "cancelled"]);

export class Sealer {
  private readonly all: Running[] = [];
  private ready: { running: Running; sealed: SealedPayload & Begun }[] = [];
  private next = 0;
  private working: Promise<void> | null = null;
  private journal: Promise<Journal> | null = null;

  /** `changed` is told the new state of an upload each time it changes. */
  constructor(
    private readonly vault: Vault,
    private readonly transport: Transport,
    private readonly changed: (upload: Upload) => void = () => undefined,
  ) {}

  /** All uploads of this visit, in the order they were added. */
  get uploads(): Upload[] {
    return this.all.map(({ upload }) => upload);
  }

  /** Puts a file into the queue. It continues an interrupted upload of the same file. */
  add(file: File, options: { readonly name?: string; readonly notes?: string } = {}): Upload {
    const name = options.name ?? (file.webkitRelativePath || file.name);
    const notes = options.notes ?? "";
    checkNames(name, notes);
    const upload: Upload = {
      id: this.next++,
      name,
      size: file.size,
      phase: "waiting",
      sealed: 0,
      sent: 0,
      resumed: false,
      error: null,
      entry: null,
    };
    this.all.push({ upload, file, notes, stop: new AbortController(), objectId: null, release: () => undefined });
    this.changed(upload);
    this.work();
    return upload;
  }

  /** Stops an upload where it is; `resume` goes on from what the other side has by then. */
  pause(id: number): void {
    this.end(id, "paused");
  }

  /** Goes on with an upload that is paused, or that failed. */
  resume(id: number): void {
    const running = this.one(id);
    if (running.upload.phase !== "paused" && running.upload.phase !== "failed") return;
    running.stop = new AbortController();
    this.tell(running, { phase: "waiting", error: null, sealed: 0, sent: 0 });
    this.work();
  }

  /** Ends an upload for good. What was sent of it is ciphertext under a key that nobody keeps. */
  async cancel(id: number): Promise<void> {
    const running = this.one(id);
    if (running.upload.phase === "done" || running.upload.phase === "committing") return;
    this.end(id, "cancelled");
    if (running.objectId !== null) await this.discard(running.objectId);
  }

  /** Resolves when nothing is left to do, whatever came of it. */
  async settled(): Promise<void> {
    while (this.working !== null) await this.working;
  }

  /** Uploads that were begun in this browser and are neither finished nor under way in any tab. */
  async interrupted(): Promise<Interrupted[]> {
    const journal = await this.open();
    const held = new Set((await navigator.locks.query()).held?.map((lock) => lock.name));
    return (await journal.unfinished())
      .filter(({ objectId }) => !held.has(lockName(objectId)))
      .map(({ objectId, name, size, added }) => ({ objectId, name, size, added }));
  }

  /** Forgets an interrupted upload. */
  async discard(objectId: Bytes): Promise<void> {
    const journal = await this.open();
    await navigator.locks.request(lockName(objectId), async () => await journal.forget(objectId));
  }

  /** Pauses what runs and lets go of the journal. */
  async close(): Promise<void> {
    for (const { upload } of this.all) if (!OVER.has(upload.phase)) this.end(upload.id, "paused");
    await this.settled();
    if (this.journal !== null) (await this.journal).close();
    this.journal = null;
  }

  private async open(): Promise<Journal> {
    this.journal ??= this.vault.journal();
    return await this.journal;
  }

  private one(id: number): Running {
    const running = this.all.find(({ upload }) => upload.id === id);
    if (running === undefined) throw new Conflict("There is no such upload any more.");
    return running;
  }

  private end(id: number, phase: "paused" | "cancelled"): void {
    const running = this.one(id);
    const now = running.upload.phase;
    if (now === "committing" || now === "done" || (OVER.has(now) && phase === "paused")) return;
    this.tell(running, { phase });
    running.stop.abort();
  }

  private tell(running: Running, change: Partial<Upload>): void {
    running.upload = { ...running.upload, ...change };
    this.changed(running.upload);
  }

  private work(): void {
    this.working ??= this.run().finally(() => {
      this.working = null;
      if (this.waiting() !== undefined) this.work();
    });
  }

  private waiting(): Running | undefined {
    return this.all.find(({ upload }) => upload.phase === "waiting");
  }

  private async run(): Promise<void> {
    for (let running = this.waiting(); running !== undefined; running = this.waiting()) {
      const { signal } = running.stop;
      try {
        const sealed = await this.upload(running, signal);
        signal.throwIfAborted();
        this.tell(running, { phase: "committing" });
        this.ready.push({ running, sealed });
      } catch (error) {
        running.release();
        if (!signal.aborted) this.tell(running, { phase: "failed", error: asAllodError(error) });
        continue;
      }
      const size = this.ready.reduce((sum, { sealed }) => sum + sealed.size, 0);
      if (this.ready.length >= BATCH || size >= BATCH_BYTES) await this.commit();
    }
    await this.commit();
  }

  /** Seals and sends one file; what it gives is not in the vault yet. */
  private async upload(running: Running, signal: AbortSignal): Promise<SealedPayload & Begun> {
    const { file, upload } = running;
    this.tell(running, { phase: "reading" });
    const journal = await this.open();
    if (this.ready.some((other) => sameFile(other.sealed, upload.name, file))) await this.commit();
    for (const { objectId } of (await journal.unfinished()).filter((begun) => sameFile(begun, upload.name, file))) {
      const release = await hold(lockName(objectId));
      if (release === null) throw busy();
      running.release = release;
      running.objectId = objectId;
      // Read again under the lock: another tab may have gone on, or finished.
      const begun = (await journal.unfinished()).find((now) => toHex(now.objectId) === toHex(objectId));
      const sealed = begun === undefined ? null : await this.send(running, journal, begun, signal);
      if (sealed !== null) return sealed;
      if (begun !== undefined) await journal.forget(objectId);
      release();
      this.tell(running, { resumed: false, sealed: 0, sent: 0 });
    }
    const begun: Unfinished = {
      objectId: random(32),
      dek: random(32),
      header: newHeader(),
      name: upload.name,
      notes: running.notes,
      size: file.size,
      added: Math.floor(Date.now() / 1000),
      digests: [],
    };
    running.objectId = begun.objectId;
    running.release = (await hold(lockName(begun.objectId))) ?? running.release;
    await journal.begin(begun);
    const sealed = await this.send(running, journal, begun, signal);
    if (sealed === null) throw new Error("a new upload contradicts its journal");
    return sealed;
  }

  /** Null if the file is not the one that was begun: nothing sealed from it has left then. */
  private async send(
    running: Running,
    journal: Journal,
    begun: Unfinished,
    signal: AbortSignal,
  ): Promise<(SealedPayload & Begun) | null> {
    this.tell(running, { resumed: begun.digests.length > 0 });
    const lengths = new Map<string, number>();
    let fresh: Bytes[] = [];
    let noted = begun.digests.length;
    const outbox = new Outbox(this.telling(running), {
      signal,
      lost: this.vault.lost,
      leaving: async () => {
        await journal.note(objectId, noted, fresh);
        noted += fresh.length;
        fresh = [];
      },
      arrived: (cids) => {
        let { sent } = running.upload;
        for (const name of cids.map(String)) {
          sent += lengths.get(name) ?? 0;
          lengths.delete(name);
        }
        this.tell(running, { sent, phase: "sealing" });
      },
    });
    let index = 0;
    const { objectId, dek, header, name } = begun;
    const request = { file: running.file, name, dek, header, vaultId: this.vault.vaultId, objectId };
    for await (const piece of sealInWorker(request, signal) satisfies AsyncIterable<Piece>) {
      if (piece.kind === "end") {
        // A file that lost its last segments would still match all of its first.
        if (index < begun.digests.length) return null;
        await outbox.flush();
        return { ...begun, payload: piece.payload, sealedSize: piece.size, found: piece.found };
      }
      if (piece.kind === "segment") {
        if (!mayLeave(begun.digests, index, piece.cid.digest)) return null;
        if (index >= begun.digests.length) fresh.push(piece.cid.digest);
        index++;
        lengths.set(piece.cid.toString(), piece.plain);
        this.tell(running, { phase: "sealing", sealed: running.upload.sealed + piece.plain });
      }
      await outbox.put(piece.cid, piece.data);
    }
    throw new Unavailable("Sealing stopped before its end.", "Try again.");
  }

  private telling(running: Running): Pick<Transport, "limits" | "missing" | "send"> {
    return {
      ...(this.transport.limits === undefined ? {} : { limits: this.transport.limits }),
      missing: async (cids, signal) => {
        this.tell(running, { phase: "asking" });
        return await this.transport.missing(cids, signal);
      },
      send: async (car, signal) => {
        this.tell(running, { phase: "sending" });
        await this.transport.send(car, signal);
      },
    };
  }

  /** Lists what was sent. Its journal is kept until then, so that a commit which fails can be repeated. */
  private async commit(): Promise<void> {
    const batch = this.ready;
    this.ready = [];
    if (batch.length === 0) return;
    try {
      await this.vault.append(batch.map(({ sealed }) => sealed));
      const journal = await this.open();
      for (const { running, sealed } of batch) {
        await journal.forget(sealed.objectId);
        this.tell(running, { phase: "done", entry: await this.vault.entry(sealed.objectId) });
      }
    } catch (error) {
      for (const { running } of batch) {
        if (running.upload.phase !== "done") this.tell(running, { phase: "failed", error: asAllodError(error) });
      }
    } finally {
      for (const { running } of batch) running.release();
    }
  }
}

/** Whether it may be the file that was begun; only its segments' digests say whether it is. */
function sameFile(begun: Pick<Begun, "name" | "size">, name: string, file: File): boolean {
  return begun.name === name && begun.size === file.size;
}

function lockName(objectId: Bytes): string {
  return `allod-upload-${toHex(objectId)}`;
}

/** Holds a lock across all tabs until the function it gives is called; null if another tab holds it. */
async function hold(name: string): Promise<(() => void) | null> {
  return await new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock === null) resolve(null);
      else await new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

function busy(): Busy {
  return new Busy("Another tab is uploading this file.", "Watch it there, or close that tab and retry.");
}

function asAllodError(error: unknown): AllodError {
  if (error instanceof AllodError) return error;
  const full = error instanceof DOMException && error.name === "QuotaExceededError";
  return new Unavailable(
    full ? "The browser has no room left to note the upload." : `The upload stopped: ${String(error)}`,
    full ? "Free space on this device, then retry." : "Retry; what was sent is not sent again.",
  );
}
