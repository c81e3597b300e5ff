/** The one way to change a vault: a function of its contents, applied to the newest head, and again if that moved. */
import { type Bytes, concat, equal, utf8 } from "./bytes.ts";
import { type Blocks, Outbox } from "./blocks.ts";
import { Cid, DAG_CBOR } from "./cid.ts";
import { Busy, Conflict, InvalidInput } from "./errors.ts";
import type { Transport } from "./interfaces.ts";
import { type VaultHead, decodeHead, decodePage, encodeHead, encodePages } from "./manifest.ts";
import type { RootKey, SigningKey } from "./rootkey.ts";
import { isLost } from "./unixfs.ts";

const ATTEMPTS = 20;
const PROOF_CONTEXT = utf8("allod/vault-account/v1\0");

/** Somebody else's change came first; `newest` is the head to build on. */
export class HeadMoved extends Conflict {
  constructor(readonly newest: Cid | null) {
    super("The vault was changed from elsewhere meanwhile.", "Try again; nothing was lost.");
  }
}

/** The head names blocks that the other side does not have. */
export class Incomplete extends Conflict {
  constructor(readonly missing: readonly Cid[]) {
    super(`${missing.length} block(s) below the new head did not arrive.`, "Try again: only those are sent.");
  }
}

/** CIDs of object manifests, dataset headers and sealed records, in order of addition. */
export interface Contents {
  readonly objects: readonly Cid[];
  readonly datasets: readonly Cid[];
  readonly records: readonly Cid[];
}

export interface Found {
  readonly cid: Cid;
  readonly head: VaultHead;
}

const NOTHING: Contents = { objects: [], datasets: [], records: [] };

/** The heads of one vault behind one transport. `contents` is what the newest one known lists. */
export class Heads {
  newest: Found | null = null;
  contents: Contents = NOTHING;
  /** Blocks that the other side said it had, and lacked when it was to commit: it may hold them damaged. */
  readonly lost = new Set<string>();
  private seen: number;

  /** `sequence` is the newest number ever seen: an older head from the other side is then a `Conflict`. */
  constructor(
    private readonly root: RootKey,
    private readonly vaultId: Bytes,
    private readonly blocks: Blocks,
    private readonly transport: Transport,
    sequence = 0,
  ) {
    this.seen = sequence;
  }

  get sequence(): number {
    return this.newest?.head.sequence ?? 0;
  }

  /** For the blocks of a change. */
  outbox(signal?: AbortSignal): Outbox {
    return new Outbox(this.transport, { lost: this.lost, ...(signal === undefined ? {} : { signal }) });
  }

  /** Looks for a newer head; whether there was one. */
  async refresh(signal?: AbortSignal): Promise<boolean> {
    return await this.adopt(await this.transport.head(signal), signal);
  }

  /**
   * Applies `change` to the newest contents and makes the result the vault, durably. It may be applied again, to
   * contents that hold its result already: an answer may be lost.
   */
  async commit(change: (now: Contents) => Contents | Promise<Contents>, signal?: AbortSignal): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const [before, contents] = [this.newest, this.contents];
      const after = await change(contents);
      if (before !== null && sameContents(after, contents)) return;
      const outbox = this.outbox(signal);
      const pages = async (cids: readonly Cid[]): Promise<Cid[]> =>
        await Promise.all(
          encodePages(cids, "page").map(async (page) => {
            const cid = await outbox.add(DAG_CBOR, page);
            this.blocks.keep(cid, page);
            return cid;
          }),
        );
      const key = await this.root.signingKey();
      const head: VaultHead = {
        vaultId: this.vaultId,
        manifestPk: key.publicKey,
        sequence: (before?.head.sequence ?? 0) + 1,
        objects: await pages(after.objects),
        datasets: after.datasets,
        records: await pages(after.records),
      };
      const block = await encodeHead(head, key);
      const cid = await outbox.add(DAG_CBOR, block);
      this.blocks.keep(cid, block);
      await outbox.flush();
      try {
        await this.transport.commit(cid, before?.cid ?? null, signal, (account) => prove(key, account, this.vaultId));
      } catch (error) {
        if (error instanceof Incomplete) for (const missing of error.missing) this.lost.add(missing.toString());
        if (!(error instanceof HeadMoved)) throw error;
        // An answer that got lost: the head that came first is the one just sent.
        if (!cid.equals(error.newest)) {
          await this.adopt(error.newest, signal);
          continue;
        }
      }
      this.newest = { cid, head };
      this.contents = after;
      this.seen = head.sequence;
      return;
    }
    throw new Busy("The vault is being changed from elsewhere all the time.", "Try again in a moment.");
  }

  private async adopt(asked: Cid | null, signal?: AbortSignal): Promise<boolean> {
    for (let cid = asked; ;) {
      try {
        return await this.follow(cid, signal);
      } catch (error) {
        // A head that was replaced while it was read takes its pages with it.
        const newer = isLost(error) ? await this.transport.head(signal) : cid;
        if (newer === null || newer.equals(cid)) throw error;
        cid = newer;
      }
    }
  }

  private async follow(cid: Cid | null, signal?: AbortSignal): Promise<boolean> {
    if (cid === null ? this.newest === null && this.seen === 0 : cid.equals(this.newest?.cid ?? null)) return false;
    const found = cid === null ? null : { cid, head: await decodeHead(await this.blocks.get(cid, signal)) };
    const sequence = found?.head.sequence ?? 0;
    if (sequence < this.seen) {
      throw new Conflict(
        `The other side knows change ${sequence} of this vault, but change ${this.seen} was seen before.`,
        "It holds an older copy: bring in its newest blocks before you change anything.",
      );
    }
    if (found === null) return false;
    if (!equal(found.head.manifestPk, await this.root.manifestPk()) || !equal(found.head.vaultId, this.vaultId)) {
      throw new Conflict(
        "The account's vault belongs to other recovery words.",
        "Sign in with the account that this key file names.",
      );
    }
    if (this.newest !== null && sequence === this.sequence) {
      throw new Conflict(
        `This vault has two different newest heads (change ${sequence}): two copies of it went separate ways.`,
        "Join them with the recovery words: `allod vault restore --join`.",
      );
    }
    this.contents = await this.read(found.head, signal);
    this.newest = found;
    this.seen = sequence;
    return true;
  }

  private async read(head: VaultHead, signal?: AbortSignal): Promise<Contents> {
    const lists = [head.objects, head.records].map(async (pages) =>
      (await Promise.all(pages.map((page) => this.blocks.get(page, signal)))).flatMap((page) =>
        decodePage(page, "page"),
      ),
    );
    const [objects, records] = await Promise.all(lists);
    return { objects: objects ?? [], datasets: head.datasets, records: records ?? [] };
  }
}

/** The signature by which the vault's signing key says whose account it is (docs/format/21-uploads.md). */
export async function prove(key: SigningKey, account: Bytes, vaultId: Bytes): Promise<Bytes> {
  if (account.length !== 20) throw new InvalidInput("An account has 20 bytes.");
  return await key.sign(concat(PROOF_CONTEXT, account, vaultId));
}

function sameContents(a: Contents, b: Contents): boolean {
  return (["objects", "datasets", "records"] as const).every(
    (name) => a[name].length === b[name].length && a[name].every((cid, index) => cid.equals(b[name][index] ?? null)),
  );
}
