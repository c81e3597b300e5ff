/** The vault: what an owner puts in, finds, opens, publishes and takes out. A change is in it when its call ends. */
import { Blocks, MemoryBlocks } from "./blocks.ts";
import { type Bytes, compare, equal, random, toHex } from "./bytes.ts";
import { encodeCbor } from "./cbor.ts";
import { Cid, DAG_CBOR, RAW } from "./cid.ts";
import { decodeCard, encodePublication, memberCids, storeDataset } from "./datasets.ts";
import { type Named, checkNames, openRecord, readEntry, sealDescription, sealRecord } from "./entry.ts";
import { AllodError, Conflict, Corrupted, InvalidInput, NotFound } from "./errors.ts";
import { Heads } from "./heads.ts";
import type { Journal } from "./journal.ts";
import type { Body, BuiltDataset, Committee, Describe, Description, Entry, Scope, Transport } from "./interfaces.ts";
import {
  type ObjectManifest,
  decodeHeader,
  decodeManifest,
  encodeHeader,
  encodeManifest,
} from "./manifest.ts";
import { DEK_LABEL, RootKey } from "./rootkey.ts";
import { Opener, SEGMENT, SegmentKey, associatedData, dekCommitment, newHeader } from "./segments.ts";
import { isLost, leaves } from "./unixfs.ts";
import { unwrap, wrap } from "./wrapping.ts";

const AHEAD = 4; // leaves fetched and opened at once
const AT_ONCE = 16; // documents asked for at once

/** A payload that lies on the other side, not yet listed in the vault. */
export interface SealedPayload extends Named {
  readonly objectId: Bytes;
  readonly dek: Bytes;
  readonly payload: Cid;
  readonly sealedSize: number;
  readonly found: Description;
}

export interface AddOptions {
  readonly describe: Describe;
  readonly name?: string;
  readonly notes?: string;
  readonly signal?: AbortSignal;
  /** Told the bytes of the file that are sealed so far. */
  readonly progress?: (sealed: number) => void;
}

/** One owner's vault, unlocked. */
export class Vault {
  private readonly manifests = new Map<string, ObjectManifest>();
  private readonly entryOf = new Map<string, Entry>();

  private constructor(
    private readonly root: RootKey,
    readonly vaultId: Bytes,
    readonly manifestPk: Bytes,
    private readonly blocks: Blocks,
    private readonly heads: Heads,
  ) {}

  /**
   * The newest state of a vault, or an empty one. `sequence` is the newest number that this device ever saw
   * (`vault.sequence`): with it, an older copy is a `Conflict` instead of an older vault.
   */
  static async open(root: RootKey, vaultId: Bytes, transport: Transport, sequence = 0): Promise<Vault> {
    if (vaultId.length !== 32) throw new InvalidInput("A vault id has 32 bytes.");
    const blocks = new Blocks(transport);
    const heads = new Heads(root, vaultId, blocks, transport, sequence);
    const vault = new Vault(root, vaultId, await root.manifestPk(), blocks, heads);
    await heads.refresh();
    return vault;
  }

  /** The newest head; null before the first change. */
  get headCid(): Cid | null {
    return this.heads.newest?.cid ?? null;
  }

  /** The number of the newest head; every change raises it. */
  get sequence(): number {
    return this.heads.sequence;
  }

  /** Names of blocks that are to be sent even if the other side says that it has them. */
  get lost(): Set<string> {
    return this.heads.lost;
  }

  /** Takes notice of what other devices changed; whether they did. */
  async refresh(signal?: AbortSignal): Promise<boolean> {
    return await this.heads.refresh(signal);
  }

  // What is in it.

  /** All objects whose description can be read, in the order they were added; `unreadable` has the others. */
  async entries(): Promise<Entry[]> {
    const { lists } = await this.datasetsOf();
    return await inOrder(await this.readable(), (cid) => this.entryAt(cid, lists));
  }

  /** Manifests and dataset headers that the vault lists and whose blocks are lost or damaged. */
  async unreadable(): Promise<Cid[]> {
    const readable = new Set((await this.readable()).map(String));
    const objects = this.heads.contents.objects.filter((cid) => !readable.has(cid.toString()));
    return [...objects, ...(await this.datasetsOf()).unknown];
  }

  /** One object; `NotFound` if the vault has none of that id. */
  async entry(objectId: Bytes): Promise<Entry> {
    return await this.entryAt((await this.find(objectId)).cid, (await this.datasetsOf()).lists);
  }

  /** The object's manifest. */
  async manifest(objectId: Bytes): Promise<ObjectManifest> {
    return (await this.find(objectId)).manifest;
  }

  /** The object's data key. Who has it can open the object for ever. */
  async dek(objectId: Bytes): Promise<Bytes> {
    const manifest = await this.manifest(objectId);
    const dek = await unwrap(this.root, DEK_LABEL, this.vaultId, objectId, manifest.wrap);
    if (!equal(await dekCommitment(dek, this.vaultId, objectId), manifest.dekCommit)) {
      throw new Corrupted("The manifest's key and its commitment differ.", "Fetch it again from another copy.");
    }
    return dek;
  }

  /** The object's plaintext in pieces, each authenticated before it is given out; `upTo` bytes of it at least. */
  async *open(objectId: Bytes, options: { signal?: AbortSignal; upTo?: number } = {}): AsyncGenerator<Bytes> {
    const { payload, size, dekCommit } = await this.manifest(objectId);
    const opener = await Opener.create(await this.dek(objectId), this.vaultId, objectId, size, dekCommit);
    yield* openPayload(opener, payload, (cid) => this.blocks.get(cid, options.signal), options.upTo);
  }

  // What goes in and out.

  /** The uploads under way in this browser; `Sealer` keeps it. */
  async journal(): Promise<Journal> {
    const { Journal } = await import("./journal.ts"); // fetched by those who upload
    return await Journal.open(this.root, this.vaultId);
  }

  /** Seals one file in this thread and puts it into the vault; `Sealer` does it in a Worker, and can resume. */
  async addFile(file: File, options: AddOptions): Promise<Entry> {
    const { signal, progress } = options;
    const [name, notes] = [options.name ?? file.name, options.notes ?? ""];
    checkNames(name, notes);
    const [objectId, dek] = [random(32), random(32)];
    const key = await SegmentKey.derive(dek, newHeader(), associatedData(this.vaultId, objectId));
    const outbox = this.heads.outbox(signal);
    let done = 0;
    const { sealFile } = await import("./sealfile.ts");
    for await (const piece of sealFile(file, key, name, options.describe)) {
      signal?.throwIfAborted();
      if (piece.kind !== "end") {
        await outbox.put(piece.cid, piece.data);
        if (piece.kind === "segment") progress?.((done += piece.plain));
        continue;
      }
      await outbox.flush();
      const { payload, size: sealedSize, found } = piece;
      const added = Math.floor(Date.now() / 1000);
      const sealed = { objectId, dek, payload, sealedSize, found, name, notes, size: file.size, added };
      await this.append([sealed], signal);
    }
    return await this.entry(objectId);
  }

  /** Lists payloads that were sealed and sent, in one change. Those that are listed already stay as they are. */
  async append(payloads: readonly SealedPayload[], signal?: AbortSignal): Promise<void> {
    const outbox = this.heads.outbox(signal);
    const fresh: { readonly id: string; readonly cid: Cid }[] = [];
    for (const item of payloads) {
      const { objectId, dek } = item;
      const manifest: ObjectManifest = {
        vaultId: this.vaultId,
        objectId,
        payload: item.payload,
        size: item.sealedSize,
        dekCommit: await dekCommitment(dek, this.vaultId, objectId),
        wrap: await wrap(this.root, DEK_LABEL, this.vaultId, objectId, dek),
        meta: await sealDescription(this.root, this.vaultId, objectId, item, item.found),
      };
      const block = encodeManifest(manifest);
      const cid = await outbox.add(DAG_CBOR, block);
      this.blocks.keep(cid, block);
      fresh.push({ id: toHex(objectId), cid });
    }
    await outbox.flush();
    await this.heads.commit(async (now) => {
      const listed = new Set<string>();
      for (const cid of await this.readable(now.objects)) listed.add(toHex((await this.manifestAt(cid)).objectId));
      const added = fresh.filter(({ id }) => !listed.has(id)).map(({ cid }) => cid);
      return { ...now, objects: [...now.objects, ...added] };
    }, signal);
  }

  /** Takes an object out. Keys that keepers hold or released are not recalled. `Conflict` if it is in a dataset. */
  async remove(objectId: Bytes, options: { evenIfPublished?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { lists, unknown } = await this.datasetsOf();
    const entry = await this.entryAt((await this.find(objectId)).cid, lists);
    if (unknown.length > 0 && options.evenIfPublished !== true) {
      throw new Conflict(
        `${unknown.length} dataset(s) of yours cannot be read here, so this object may be published.`,
        "Bring their blocks back from a backup, or revoke their consents first.",
      );
    }
    if (entry.datasets.length > 0 && options.evenIfPublished !== true) {
      throw new Conflict(
        `The object is in ${entry.datasets.length} published dataset(s) of yours.`,
        "Revoke their consents first; trainers who were granted one can no longer fetch it afterwards.",
      );
    }
    await this.heads.commit(
      (now) => ({ ...now, objects: now.objects.filter((cid) => !cid.equals(entry.manifest)) }),
      options.signal,
    );
  }

  // What is public of it, and what its owner keeps.

  /** The dataset of these objects under this public card, stored and listed. The same input makes the same again. */
  async buildDataset(objectIds: readonly Bytes[], card: Body, signal?: AbortSignal): Promise<BuiltDataset> {
    const sorted = [...new Map(objectIds.map((id) => [toHex(id), id])).values()].sort(compare);
    const [manifests, found] = [new Array<Bytes>(), new Array<Entry>()];
    for (const id of sorted) {
      manifests.push(encodeManifest(await this.manifest(id)));
      found.push(await this.entry(id));
    }
    const records = found.reduce((sum, entry) => sum + entry.records, 0);
    const made = new MemoryBlocks();
    const header = await storeDataset(made, this.vaultId, this.manifestPk, manifests, records, card);
    const cid = Cid.of(DAG_CBOR, encodeHeader(header));
    const outbox = this.heads.outbox(signal);
    for (const block of made.blocks.values()) {
      await outbox.put(block.cid, block.data);
      this.blocks.keep(block.cid, block.data);
    }
    await outbox.flush();
    await this.heads.commit(
      (now) => (now.datasets.some((known) => known.equals(cid)) ? now : { ...now, datasets: [...now.datasets, cid] }),
      signal,
    );
    return { header: cid, digest: cid.digest, objects: header.objects, records };
  }

  /** The datasets built from this vault that can be read, oldest first, each with its card; `unreadable` has the others. */
  async datasets(): Promise<(BuiltDataset & { readonly card: Body })[]> {
    const found = await inOrder(this.heads.contents.datasets, async (cid) => {
      try {
        const header = decodeHeader(await this.blocks.get(cid));
        const { card } = decodeCard(await this.blocks.get(header.card));
        return { header: cid, digest: cid.digest, objects: header.objects, records: header.records, card };
      } catch (error) {
        if (!isLost(error)) throw error;
        return null;
      }
    });
    return found.filter((dataset) => dataset !== null);
  }

  /**
   * Shares a dataset's keys with a committee and stores the publication: what a trainer is pointed at. `terms` are the
   * bytes whose sha256 the consent names. `sequence` numbers the share tables of one asset.
   */
  async publish(
    dataset: BuiltDataset,
    terms: Bytes,
    scope: Omit<Scope, "vaultId">,
    committee: Committee,
    sequence = 1,
    signal?: AbortSignal,
  ): Promise<Cid> {
    const [{ shareObjects }, { storeTable }] = await Promise.all([import("./sharing.ts"), import("./sharetable.ts")]);
    const header = decodeHeader(await this.blocks.get(dataset.header, signal));
    const deks: { objectId: Bytes; dek: Bytes }[] = [];
    for (const cid of await memberCids(header, (block) => this.blocks.get(block, signal))) {
      const { objectId } = decodeManifest(await this.blocks.get(cid, signal));
      deks.push({ objectId, dek: await this.dek(objectId) });
    }
    const key = await this.root.signingKey();
    const table = await shareObjects({ ...scope, vaultId: this.vaultId }, deks, committee, key, sequence);
    const outbox = this.heads.outbox(signal);
    const publication = encodePublication({
      header: dataset.header,
      terms: await outbox.add(RAW, terms),
      shares: await storeTable(table, outbox),
    });
    const cid = await outbox.add(DAG_CBOR, publication);
    await outbox.flush();
    return cid;
  }

  /** Keeps a document of the owner's (terms, a signed consent, …) sealed in the vault; again changes nothing. */
  async saveRecord(kind: string, body: Body, signal?: AbortSignal): Promise<void> {
    const wanted = encodeCbor(body);
    const isKept = async (records: readonly Cid[]): Promise<boolean> =>
      (await this.bodies(kind, records)).some((kept) => equal(encodeCbor(kept), wanted));
    if (await isKept(this.heads.contents.records)) return;
    const block = await sealRecord(this.root, this.vaultId, kind, body);
    const outbox = this.heads.outbox(signal);
    const cid = await outbox.add(DAG_CBOR, block);
    this.blocks.keep(cid, block);
    await outbox.flush();
    await this.heads.commit(
      async (now) => ((await isKept(now.records)) ? now : { ...now, records: [...now.records, cid] }),
      signal,
    );
  }

  /** The owner's documents of one kind, in the order they were saved; fails where one of the vault cannot be read. */
  async records(kind: string): Promise<Body[]> {
    return await this.bodies(kind, this.heads.contents.records);
  }

  /**
   * The owner's documents that can be read, in the order they were saved, and of how many that cannot be said. For
   * showing and for ending things; what is signed next, or numbered, needs all of them.
   */
  async readableRecords(): Promise<{ records: { kind: string; body: Body }[]; lost: number }> {
    const found = await inOrder(this.heads.contents.records, async (cid) => {
      try {
        return await openRecord(this.root, await this.blocks.get(cid));
      } catch (error) {
        if (!(error instanceof AllodError)) throw error;
        return null; // lost, damaged or withheld: to its owner that is the same
      }
    });
    const records = found.filter((record) => record !== null);
    return { records, lost: found.length - records.length };
  }

  private async bodies(kind: string, records: readonly Cid[]): Promise<Body[]> {
    const found = inOrder(records, async (cid) => await openRecord(this.root, await this.blocks.get(cid)));
    return (await found).filter((record) => record.kind === kind).map((record) => record.body);
  }

  private async readable(listed = this.heads.contents.objects): Promise<Cid[]> {
    const found = await inOrder(listed, async (cid) => {
      try {
        await this.manifestAt(cid);
        return cid;
      } catch (error) {
        if (!isLost(error)) throw error;
        return null;
      }
    });
    return found.filter((cid) => cid !== null);
  }

  private async find(objectId: Bytes): Promise<{ cid: Cid; manifest: ObjectManifest }> {
    for (const cid of await this.readable()) {
      const manifest = await this.manifestAt(cid);
      if (equal(manifest.objectId, objectId)) return { cid, manifest };
    }
    throw new NotFound("The vault has no object with that id.", "Look for it among the files.");
  }

  private async manifestAt(cid: Cid): Promise<ObjectManifest> {
    const known = this.manifests.get(cid.toString());
    if (known !== undefined) return known;
    const manifest = decodeManifest(await this.blocks.get(cid));
    if (!equal(manifest.vaultId, this.vaultId)) {
      throw new Corrupted("The vault lists another vault's object.", "Restore it from the recovery words.");
    }
    this.manifests.set(cid.toString(), manifest);
    return manifest;
  }

  private async entryAt(cid: Cid, datasets: ReadonlyMap<string, readonly Bytes[]>): Promise<Entry> {
    const name = cid.toString();
    const known = this.entryOf.get(name) ?? (await readEntry(this.root, await this.manifestAt(cid), cid, []));
    this.entryOf.set(name, known);
    return { ...known, datasets: datasets.get(name) ?? [] };
  }

  /** For each manifest the digests of the datasets that list it; and the datasets that cannot be read. */
  private async datasetsOf(): Promise<{ lists: Map<string, Bytes[]>; unknown: Cid[] }> {
    const lists = new Map<string, Bytes[]>();
    const unknown: Cid[] = [];
    for (const dataset of this.heads.contents.datasets) {
      try {
        const header = decodeHeader(await this.blocks.get(dataset));
        for (const cid of await memberCids(header, this.blocks.get)) {
          lists.set(cid.toString(), [...(lists.get(cid.toString()) ?? []), dataset.digest]);
        }
      } catch (error) {
        if (!isLost(error)) throw error;
        unknown.push(dataset);
      }
    }
    return { lists, unknown };
  }
}

/** What `act` makes of each item, in their order, a few at a time. */
async function inOrder<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    out.push(...(await Promise.all(items.slice(start, start + AT_ONCE).map(act))));
  }
  return out;
}

/** The plaintext under `payload`, segment by segment in order; the first wrong or missing one ends it. */
export async function* openPayload(
  opener: Opener,
  payload: Cid,
  get: (cid: Cid) => Promise<Bytes>,
  upTo = Infinity,
): AsyncGenerator<Bytes> {
  const flying: Promise<Bytes>[] = [];
  let released = 0;
  for await (const leaf of leaves(payload, get, opener.size)) {
    if (leaf.offset % SEGMENT !== 0) throw new Corrupted(`Leaf ${leaf.cid} is not one segment of the object.`);
    const opened = get(leaf.cid).then(async (data) => {
      if (data.length !== leaf.size) {
        throw new Corrupted(`Leaf ${leaf.cid} has ${data.length} bytes where its file says ${leaf.size}.`);
      }
      return await opener.openSegment(leaf.offset / SEGMENT, data);
    });
    opened.catch(() => undefined); // awaited in its turn
    flying.push(opened);
    // The salt lies in segment 0: the others wait for it.
    if (leaf.offset === 0 || flying.length === AHEAD) {
      const piece = await (flying.shift() as Promise<Bytes>);
      released += piece.length;
      yield piece;
      if (released >= upTo) return;
    }
  }
  for (const piece of flying) yield await piece;
}
