/**
 * The owner on this device: whether there is a vault, whether it is open, and everything that only its owner may do.
 *
 * The root key lives in this object's memory while the vault is open, and nowhere else; the key file in IndexedDB is
 * sealed by the passphrase. What is heavy (keys, sealing, signing) is fetched when it is first needed.
 */

import { useRenewal } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Operation, Session, TrainerRequest } from "../../api/types.ts";
import type { BrokenPlace, TrainingRecord } from "../../readers/index.ts";
import type { Signer } from "../../deeds/signer.ts";
import type { RootKey, Vault } from "../../vault/index.ts";
import { operations } from "../stores/operations.svelte.ts";
import type { Proposal } from "../stores/offer.svelte.ts";
import { world } from "../stores/world.svelte.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import type { Published } from "./drafting.ts";
import { forget, keep, type Kept, readKept } from "./keeping.ts";
import type { Licence } from "./licence.ts";
import type { Owned } from "./owned.ts";
import type { Held } from "./revocations.ts";
import { resume, signIn, signOut } from "./session.ts";
import type { Steps } from "./steps.ts";
import { wallets } from "./wallets.svelte.ts";

/** `reading` until the device was looked at; `none` without a vault here; else `locked` or `open`. */
export type Stage = "reading" | "none" | "locked" | "open";

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
  readonly root: RootKey;
  readonly vault: Vault;
  readonly signer: Signer;
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
  #kept: Kept | undefined;
  #open: Open | undefined;
  readonly #locked = new Set<() => void>();

  constructor() {
    useRenewal(async () => {
      const open = this.#open;
      if (open === undefined) return false;
      this.session = await signIn(open.signer, await world.need());
      return true;
    });
  }

  /** Look whether this device has a vault. */
  async read(): Promise<void> {
    this.#kept = await readKept().catch(() => undefined);
    if (this.#kept !== undefined) {
      const { facts } = await import("./opening.ts");
      ({ account: this.account, vaultId: this.vaultId } = facts(this.#kept));
      this.usesWallet = this.#kept.wallet !== undefined;
    }
    this.stage = this.#kept === undefined ? "none" : "locked";
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
    const draft = await recall(words, signer, async (found) => {
      this.session = await signIn(found, await world.need());
    });
    return draft;
  }

  /** Keep a draft on this device under a passphrase, sign in, and open it. */
  async keep(draft: Draft, passphrase: string): Promise<void> {
    const { keyFileOf } = await import("./opening.ts");
    const now = await world.need();
    this.session = (await resume(draft.account)) ?? (await signIn(draft.signer, now));
    const keyFile = await keyFileOf(draft, passphrase);
    await this.#enter({ keyFile, pins: pinsOf(now), sequence: 0, ...walletOf(draft.signer) }, draft.root, draft.signer);
  }

  /** A vault by its key file, from another device. */
  async bring(text: string, passphrase: string): Promise<void> {
    const { openKeyFile, signerOf } = await import("./opening.ts");
    const now = await world.need();
    const file = await openKeyFile(text, passphrase);
    const signer = await signerOf(file.root, file.account, undefined);
    this.session = (await resume(file.account)) ?? (await signIn(signer, now));
    await this.#enter({ keyFile: file.bytes, pins: pinsOf(now), sequence: 0, ...walletOf(signer) }, file.root, signer);
  }

  async unlock(passphrase: string): Promise<void> {
    const kept = this.#kept;
    if (kept === undefined) throw CLOSED();
    const { openKeptFile, signerOf } = await import("./opening.ts");
    const now = await world.need();
    requirePins(kept, now);
    const file = await openKeptFile(kept.keyFile, passphrase);
    const signer = await signerOf(file.root, file.account, kept.wallet);
    this.session = (await resume(file.account)) ?? (await signIn(signer, now));
    await this.#enter(kept, file.root, signer);
  }

  async #enter(kept: Kept, root: RootKey, signer: Signer): Promise<void> {
    const { facts, openVault } = await import("./opening.ts");
    const { account, vaultId } = facts(kept);
    const vault = await openVault(root, vaultId, kept.sequence);
    this.#kept = { ...kept, sequence: vault.sequence };
    await keep(this.#kept);
    this.#open = { root, vault, signer };
    this.account = account;
    this.vaultId = vaultId;
    this.usesWallet = signer.isWallet;
    this.stage = "open";
    void operations.resume().catch(() => undefined);
  }

  /** Called whenever the vault closes. */
  onLock(then: () => void): void {
    this.#locked.add(then);
  }

  /** Forget the root key; the passphrase opens the vault again. */
  lock(): void {
    for (const then of this.#locked) then();
    this.#open = undefined;
    this.session = undefined;
    operations.forget();
    if (this.stage === "open") this.stage = "locked";
    void signOut();
  }

  /** Take the vault off this device. */
  async leave(): Promise<void> {
    await forget();
    this.lock();
    this.#kept = undefined;
    this.account = this.vaultId = undefined;
    this.stage = "none";
  }

  async keyFile(): Promise<Uint8Array<ArrayBuffer>> {
    const kept = this.#kept ?? (await readKept());
    if (kept === undefined) throw CLOSED();
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

  get root(): RootKey {
    return this.#opened.root;
  }

  /** Remember the newest head's number, so that this device never takes an older one. */
  async sawHead(): Promise<void> {
    const { vault } = this.#opened;
    if (this.#kept === undefined || this.#kept.sequence === vault.sequence) return;
    this.#kept = { ...this.#kept, sequence: vault.sequence };
    await keep(this.#kept);
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
    const { ownedDatasets } = await import("./owned.ts");
    await open.vault.refresh(signal);
    await this.sawHead();
    return await ownedDatasets(open);
  }

  async consents(signal?: AbortSignal): Promise<Held[]> {
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

  async #planned(make: (open: Open, now: Now) => Plan | Promise<Plan>): Promise<Plan> {
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

  async #pinned(): Promise<Now> {
    const now = await world.need();
    if (this.#kept !== undefined) requirePins(this.#kept, now);
    return now;
  }
}

type Now = Awaited<ReturnType<typeof world.need>>;

function walletOf(signer: Signer): { wallet?: string } {
  return signer.isWallet ? { wallet: wallets.nameOf(signer) } : {};
}

/** What this device accepted when the vault came to it: chain, contracts, keepers. */
function pinsOf(now: Now): string {
  const { registry, consent_token, escrow } = now.contracts;
  return [now.chain_id, registry, consent_token, escrow, now.committee.hash].join(" ");
}

/** Sign nothing for another chain, other contracts or other keepers than those accepted once. */
function requirePins(kept: Kept, now: Now): void {
  if (kept.pins === pinsOf(now)) return;
  throw Problem.local(
    "refused",
    "This server names another chain, other contracts or other keepers than when this device came to your vault.",
    "Ask who operates it why. To accept the new ones, remove the vault from this device and restore it with your words.",
  );
}

export const owner = new Owner();
