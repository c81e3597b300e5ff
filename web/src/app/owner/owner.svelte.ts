/**
 * The owner on this device: whether there is a vault, whether it is open, and everything that only its owner may do.
 *
 * The root key lives in this object's memory while the vault is open, and nowhere else; the key file in IndexedDB is
 * sealed by the passphrase. What is heavy (keys, sealing, signing) is fetched when it is first needed.
 */

import { useRenewal } from "../../api/client.ts";
import { Problem, problemOf } from "../../api/problem.ts";
import type { Hex, Operation, Session, TrainerRequest, World } from "../../api/types.ts";
import type { BrokenPlace, TrainingRecord } from "../../readers/index.ts";
import type { Signer } from "../../deeds/signer.ts";
import type { RootKey, Transport, Vault } from "../../vault/index.ts";
import { operations } from "../stores/operations.svelte.ts";
import type { Proposal } from "../stores/offer.svelte.ts";
import { world } from "../stores/world.svelte.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import type { Published } from "./drafting.ts";
import { ANOTHER, forget, GONE, keep, type Kept, namesOf, OTHER_ACCOUNT, readKept, update } from "./keeping.ts";
import type { Licence } from "./licence.ts";
import type { Owned } from "./owned.ts";
import { accepted, pinsOf } from "./pins.ts";
import type { Held, Holdings } from "./revocations.ts";
import { resume, signIn, signOut } from "./session.ts";
import type { Steps } from "./steps.ts";
import { wallets } from "./wallets.svelte.ts";

/** `reading` until the device was looked at, `failed` if it cannot be; `none` without a vault here; else the vault's. */
export type Stage = "reading" | "failed" | "none" | "locked" | "open";

/** A file of the vault, as screens show it. */
export interface FileRow {
  readonly id: Hex;
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly added: number;
  readonly records: number;
  readonly broken: number;
  readonly payload: string;
  readonly published: readonly Hex[];
}

/** A vault that is about to be kept on this device: new, or brought back. */
export interface Draft {
  readonly words: readonly string[];
  readonly account: Hex;
  readonly vaultId: Hex;
  readonly usesWallet: boolean;
  readonly root: RootKey;
  readonly signer: Signer;
}

/** What is in memory while the vault is open. */
export interface Open {
  readonly vault: Vault;
  readonly signer: Signer;
  readonly transport: Transport;
}

const CLOSED = (): Problem => Problem.local("denied", "Your vault is locked.", "Unlock it with your passphrase.");
type Say = (words: string) => void;

class Owner {
  stage: Stage = $state("reading");
  account: Hex | undefined = $state();
  vaultId: Hex | undefined = $state();
  usesWallet = $state(false);
  session: Session | undefined = $state.raw();
  /** Descriptions that cannot be read because their blocks are lost. */
  unreadable = $state(0);
  /** Why this device could not be looked at. */
  problem: Problem | undefined = $state.raw();
  /** The session is over, and the wallet is not asked to sign in again before its owner wants that. */
  ended = $state(false);
  #kept: Kept | undefined = $state.raw();
  #open: Open | undefined;
  #acts = 0;
  #signing: Promise<void> | undefined;
  #leaving: Promise<void> = Promise.resolve();
  readonly #locked = new Set<() => void>();
  readonly #tabs = new BroadcastChannel("allod");

  constructor() {
    useRenewal(() => this.#renew());
    // Another tab locked the vault or took it off this device, or a vault came to it.
    this.#tabs.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (data === "closed") this.#close();
      if (this.#open === undefined) void this.read();
    };
  }

  /** Look whether this device has a vault. */
  async read(): Promise<void> {
    try {
      await this.#look();
      this.problem = undefined;
    } catch (thrown) {
      this.problem = problemOf(thrown);
      this.stage = "failed";
    }
  }

  async #look(): Promise<Kept | undefined> {
    const kept = await readKept();
    const names = kept === undefined ? NOBODY : (await import("./opening.ts")).facts(kept);
    ({ account: this.account, vaultId: this.vaultId } = names);
    this.usesWallet = kept?.wallet !== undefined;
    this.#kept = kept;
    if (this.#open === undefined) this.stage = kept === undefined ? "none" : "locked";
    return kept;
  }

  /** Why nothing of the owner's is shown: the server is another one than this device accepted. */
  get refusal(): Problem | undefined {
    if (this.stage !== "open" || this.#kept === undefined || world.data === undefined) return undefined;
    try {
      accepted(this.#kept.pins, world.data);
      return undefined;
    } catch (thrown) {
      return problemOf(thrown);
    }
  }

  // The session.

  async #signIn(signer: Signer, now: World): Promise<void> {
    await this.#leaving;
    this.session = (await resume(signer.address)) ?? (await signIn(signer, now));
  }

  /** Once the session is over; a wallet asks its owner, and once only. */
  async signInAgain(): Promise<void> {
    const sign = async (): Promise<void> => this.#signIn(this.#opened.signer, await world.need());
    this.#signing ??= sign().finally(() => (this.#signing = undefined));
    await this.#signing;
    this.ended = false;
  }

  /** What the owner asks for just now: while it goes on, and only then, a wallet may be asked to sign in again. */
  async act<T>(work: () => Promise<T>): Promise<T> {
    this.#acts += 1;
    try {
      if (this.ended) await this.signInAgain();
      return await work();
    } finally {
      this.#acts -= 1;
    }
  }

  async #renew(): Promise<boolean> {
    const open = this.#open;
    if (open === undefined) return false;
    const kept = await readKept();
    if (this.#open !== open) return false;
    if (kept === undefined || namesOf(kept)?.vault_id !== this.vaultId) {
      this.#gone();
      return false;
    }
    this.ended = open.signer.isWallet;
    if (this.ended && this.#acts === 0) return false;
    await this.signInAgain();
    return true;
  }

  // Making a vault, and coming back to it.

  /** A new vault, not kept yet; `signer` is a wallet, without it the account hangs on the root key. */
  async draft(signer?: Signer): Promise<Draft> {
    const { newDraft } = await import("./opening.ts");
    return await newDraft(signer);
  }

  /** The vault of these words on this server, not kept on this device yet. Signs in. */
  async recall(words: string, signer?: Signer): Promise<Draft> {
    const { recall } = await import("./opening.ts");
    return await recall(words, signer, async (found) => {
      const kept = await readKept();
      const names = kept === undefined ? undefined : namesOf(kept);
      if (names !== undefined && names.address !== found.address) throw OTHER_ACCOUNT();
      const now = await world.need();
      await this.#leaving;
      this.session = await signIn(found, now);
    });
  }

  /** Keep a draft on this device under a passphrase, sign in, and open it. */
  async keep(draft: Draft, passphrase: string): Promise<void> {
    const { keyFileOf } = await import("./opening.ts");
    const now = await world.need();
    const before = await keptOf(draft.vaultId, now);
    await this.#signIn(draft.signer, now);
    const keyFile = await keyFileOf(draft, passphrase);
    await this.#enter({ keyFile, ...before, ...walletOf(draft.signer) }, draft.root, draft.signer, "keep");
  }

  /** A vault by its key file, from another device. */
  async bring(text: string, passphrase: string): Promise<void> {
    const { facts, openKeyFile, signerOf } = await import("./opening.ts");
    const now = await world.need();
    const file = await openKeyFile(text, passphrase);
    const before = await keptOf(facts({ keyFile: file.bytes }).vaultId, now);
    const signer = await signerOf(file.root, file.account, undefined);
    await this.#signIn(signer, now);
    await this.#enter({ keyFile: file.bytes, ...before, ...walletOf(signer) }, file.root, signer, "keep");
  }

  async unlock(passphrase: string): Promise<void> {
    const kept = await this.#look();
    if (kept === undefined) throw GONE();
    const { openKeptFile, signerOf } = await import("./opening.ts");
    const now = await world.need();
    const pins = accepted(kept.pins, now);
    const file = await openKeptFile(kept.keyFile, passphrase);
    const signer = await signerOf(file.root, file.account, kept.wallet);
    await this.#signIn(signer, now);
    await this.#enter({ ...kept, pins }, file.root, signer, "update");
  }

  async #enter(wanted: Kept, root: RootKey, signer: Signer, how: "keep" | "update"): Promise<void> {
    const { facts, openVault } = await import("./opening.ts");
    const { account, vaultId } = facts(wanted);
    const open = await openVault(root, signer, vaultId, wanted.sequence);
    const news = { ...wanted, sequence: open.vault.sequence };
    const kept = await (how === "keep" ? keep(news) : update(news));
    if (kept === undefined) {
      void this.read();
      throw how === "keep" ? ANOTHER() : GONE();
    }
    const { session } = this;
    this.#close();
    this.session = session;
    this.#kept = kept;
    this.#open = open;
    this.account = account;
    this.vaultId = vaultId;
    this.usesWallet = signer.isWallet;
    this.stage = "open";
    if (how === "keep") this.#tabs.postMessage("kept");
    void operations.resume().catch(() => undefined);
  }

  /** Called whenever the vault closes; returns how to stop that. */
  onLock(then: () => void): () => void {
    this.#locked.add(then);
    return () => void this.#locked.delete(then);
  }

  /** Forget the root key, here and in other tabs; the passphrase opens the vault again. */
  lock(): void {
    this.#close();
    this.#tabs.postMessage("closed");
    if (this.account !== undefined) this.#leaving = signOut(this.account);
  }

  /** Take the vault off this device. */
  async leave(): Promise<void> {
    await forget();
    this.lock();
    this.#kept = undefined;
    this.account = this.vaultId = undefined;
    this.stage = "none";
  }

  /** Nothing of an open vault stays in this tab. */
  #close(): void {
    if (this.#open === undefined) return;
    this.#open.signer.forget?.();
    this.#open = undefined;
    for (const then of this.#locked) then();
    this.session = undefined;
    this.ended = false;
    operations.forget();
    this.stage = "locked";
  }

  /** Another tab took this vault off the device, and this one did not hear of it. */
  #gone(): void {
    this.#close();
    void this.read();
  }

  async keyFile(): Promise<Uint8Array<ArrayBuffer>> {
    const kept = await readKept();
    if (kept === undefined) throw GONE();
    return kept.keyFile;
  }

  // The vault's files.

  get #opened(): Open {
    if (this.#open === undefined) throw CLOSED();
    return this.#open;
  }

  /** The open vault, for uploads. */
  get vault(): Vault {
    return this.#opened.vault;
  }

  get transport(): Transport {
    return this.#opened.transport;
  }

  /** Remember the newest head's number, so that this device never takes an older one. */
  async sawHead(): Promise<void> {
    const [open, kept] = [this.#open, this.#kept];
    if (open === undefined || kept === undefined || kept.sequence >= open.vault.sequence) return;
    const now = await update({ ...kept, sequence: open.vault.sequence });
    if (this.#open !== open) return;
    if (now === undefined) this.#gone();
    else this.#kept = now;
  }

  /** All files, from the newest head. */
  async refresh(signal?: AbortSignal): Promise<FileRow[]> {
    const { vault } = this.#opened;
    const { rowsOf } = await import("./opening.ts");
    await vault.refresh(signal);
    await this.sawHead();
    const [rows, lost] = await Promise.all([rowsOf(vault), vault.unreadable()]);
    this.unreadable = lost.length;
    return rows;
  }

  async file(id: string, signal?: AbortSignal): Promise<FileRow> {
    const found = (await this.refresh(signal)).find((row) => row.id === id);
    if (found !== undefined) return found;
    throw Problem.local("not-found", "Your vault has no such file.", "Look for it among your files; it may have been removed.");
  }

  /** The plaintext, piece by piece, each authenticated. */
  async *pieces(row: FileRow, signal?: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const { vault } = this.#opened;
    const { fromHex } = await import("../../vault/bytes.ts");
    yield* vault.open(fromHex(row.id, 32), signal === undefined ? {} : { signal });
  }

  /** The records that a job would train on. */
  async *records(row: FileRow, signal?: AbortSignal): AsyncGenerator<TrainingRecord | BrokenPlace> {
    const { readRecords } = await import("../../readers/index.ts");
    yield* readRecords("", null, this.pieces(row, signal));
  }

  async remove(row: FileRow): Promise<void> {
    const { fromHex } = await import("../../vault/bytes.ts");
    await this.#opened.vault.remove(fromHex(row.id, 32), { evenIfPublished: true });
    await this.sawHead();
  }

  // What owners sign. Each plan is drafted first and says what its act will sign.

  async datasets(signal?: AbortSignal): Promise<Published[]> {
    const { publishedDatasets } = await import("./drafting.ts");
    return await publishedDatasets(this.#opened, signal);
  }

  /** This owner's datasets as the vault knows them: titles, and names that no server knows. */
  async owned(signal?: AbortSignal): Promise<Map<Hex, Owned>> {
    const open = this.#opened;
    const { shownDatasets } = await import("./owned.ts");
    await open.vault.refresh(signal);
    await this.sawHead();
    return await shownDatasets(open);
  }

  async consents(signal?: AbortSignal): Promise<Holdings> {
    const { heldConsents } = await import("./revocations.ts");
    const found = await heldConsents(this.#opened, signal);
    await this.sawHead();
    return found;
  }

  async publication(proposal: Proposal): Promise<Plan> {
    const { planPublication } = await import("./drafting.ts");
    return await this.#planned((open, now) => planPublication(open, now, proposal));
  }

  async offer(asset: Hex): Promise<Plan> {
    const { planOffer } = await import("./drafting.ts");
    return await this.#planned((open, now) => planOffer(open, now, asset));
  }

  async approval(request: TrainerRequest, changed?: Licence): Promise<Plan> {
    const { planApproval } = await import("./drafting.ts");
    return await this.#planned((open, now) => planApproval(open, now, request, changed));
  }

  async revocation(rows: readonly Held[]): Promise<Plan> {
    const { planRevocation } = await import("./revocations.ts");
    return await this.#planned((open, now) => planRevocation(open, now, rows));
  }

  async #planned(make: (open: Open, now: World) => Plan | Promise<Plan>): Promise<Plan> {
    const open = this.#opened;
    const plan = await make(open, await this.#pinned());
    return {
      ...plan,
      act: async (say) => {
        if (this.#open !== open) throw CLOSED();
        return await plan.act(say);
      },
    };
  }

  async revokeAll(steps: Steps, say: Say): Promise<Operation[]> {
    const { revokeAll } = await import("./revocations.ts");
    return await revokeAll(this.#opened, await this.#pinned(), steps, say);
  }

  async claim(jobs: readonly Hex[], steps: Steps): Promise<Operation[]> {
    const { claim } = await import("./revocations.ts");
    return await claim(jobs, steps);
  }

  async #pinned(): Promise<World> {
    const now = await world.need();
    if (this.#kept !== undefined) accepted(this.#kept.pins, now);
    return now;
  }
}

const NOBODY = { account: undefined, vaultId: undefined };

function walletOf(signer: Signer): { wallet?: string } {
  return signer.isWallet ? { wallet: wallets.nameOf(signer) } : {};
}

/** What a vault that comes to this device starts with: what is kept of it here already, or what this server says. */
async function keptOf(vaultId: Hex, now: World): Promise<Pick<Kept, "pins" | "sequence">> {
  const kept = await readKept();
  const names = kept === undefined ? undefined : namesOf(kept);
  if (kept === undefined || names === undefined) return { pins: pinsOf(now), sequence: 0 };
  if (names.vault_id !== vaultId) throw ANOTHER();
  return { pins: accepted(kept.pins, now), sequence: kept.sequence };
}

export const owner = new Owner();
