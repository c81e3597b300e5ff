/**
 * The journal of uploads under way: what makes an upload resume after a reload, and what keeps a nonce from being used
 * twice.
 *
 * A segment's CID is durable here before its ciphertext leaves the device. So whoever seals a file again under a
 * journalled key knows for every segment that may have left whether it is the same: a segment that gives another CID
 * was made from a changed file, is thrown away unsent, and the upload starts over as a new object under a new key.
 *
 * IndexedDB holds two stores, everything in them sealed under the root key: `uploads`, one record an object, and
 * `parts`, the digests of its segments in the order they were made.
 */
import { type Bytes, concat, equal, fromHex, toHex } from "./bytes.ts";
import { readMap } from "./documents.ts";
import { JOURNAL_LABEL, type RootKey } from "./rootkey.ts";
import { openDocument, openWith, sealDocument, sealWith } from "./wrapping.ts";

const DATABASE = "allod-uploads";
const UPLOADS = "uploads";
const PARTS = "parts";
const DIGEST = 32;

/** Which file it was, and the key that seals it. */
export interface Begun {
  readonly objectId: Bytes;
  readonly dek: Bytes;
  readonly header: Bytes;
  readonly name: string;
  readonly notes: string;
  readonly size: number;
  readonly added: number;
}

/** An upload that was begun here and not finished; `digests` are those of the segments that may have left. */
export interface Unfinished extends Begun {
  readonly digests: readonly Bytes[];
}

/** The journal of one vault in this browser. */
export class Journal {
  private constructor(
    private readonly database: IDBDatabase,
    private readonly root: RootKey,
    private readonly vaultId: Bytes,
  ) {}

  static async open(root: RootKey, vaultId: Bytes): Promise<Journal> {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(UPLOADS);
      request.result.createObjectStore(PARTS);
    };
    const database = await done(request);
    database.onversionchange = () => database.close();
    return new Journal(database, root, vaultId);
  }

  close(): void {
    this.database.close();
  }

  /** Notes an upload before its first segment leaves. */
  async begin(begun: Begun): Promise<void> {
    const sealed = await sealDocument(this.root, JOURNAL_LABEL, this.vaultId, begun.objectId, {
      dek: begun.dek,
      header: begun.header,
      name: begun.name,
      notes: begun.notes,
      size: begun.size,
      added: begun.added,
    });
    await this.write((stores) => stores[UPLOADS].put(sealed, this.key(begun.objectId)));
  }

  /** Notes the digests of segments `from` and following; once it resolves they may leave. */
  async note(objectId: Bytes, from: number, digests: readonly Bytes[]): Promise<void> {
    if (digests.length === 0) return;
    const sealed = await sealWith(await this.partKey(objectId), concat(...digests), position(from));
    await this.write((stores) => stores[PARTS].put(sealed, `${this.key(objectId)}/${String(from).padStart(10, "0")}`));
  }

  /** Forgets an upload: it is in the vault, or nobody wants it any more. */
  async forget(objectId: Bytes): Promise<void> {
    await this.write((stores) => {
      stores[UPLOADS].delete(this.key(objectId));
      stores[PARTS].delete(this.partsOf(objectId));
    });
  }

  /** The uploads of this vault that are not finished. What does not open is passed by. */
  async unfinished(): Promise<Unfinished[]> {
    const start = `${toHex(this.vaultId)}/`;
    const transaction = this.database.transaction([UPLOADS, PARTS]);
    const range = IDBKeyRange.bound(start, `${start}~`);
    const [keys, records] = await Promise.all([
      done(transaction.objectStore(UPLOADS).getAllKeys(range)),
      done<unknown[]>(transaction.objectStore(UPLOADS).getAll(range)),
    ]);
    const found: Unfinished[] = [];
    for (const [at, key] of keys.entries()) {
      const objectId = fromHex(String(key).slice(start.length), 32);
      const begun = await this.readBegun(objectId, records[at]);
      if (begun !== null) found.push({ ...begun, digests: await this.digests(objectId) });
    }
    return found.sort((a, b) => a.added - b.added);
  }

  private async readBegun(objectId: Bytes, record: unknown): Promise<Begun | null> {
    try {
      const value = await openDocument(
        this.root,
        JOURNAL_LABEL,
        this.vaultId,
        objectId,
        new Uint8Array(record as Bytes),
      );
      const names = ["dek", "header", "name", "notes", "size", "added"];
      const members = readMap(value, "upload", names);
      return {
        objectId,
        dek: members.octets("dek", 32),
        header: members.octets("header", 40),
        name: members.text("name"),
        notes: members.text("notes"),
        size: members.number("size"),
        added: members.number("added"),
      };
    } catch {
      return null; // another root key's, or damaged: such an upload starts over as a new object
    }
  }

  /** All digests noted, from segment 0; an unreadable part ends the upload's use, see `Journal.unfinished`. */
  private async digests(objectId: Bytes): Promise<Bytes[]> {
    const store = this.database.transaction(PARTS).objectStore(PARTS);
    const range = this.partsOf(objectId);
    const [keys, parts] = await Promise.all([done(store.getAllKeys(range)), done<unknown[]>(store.getAll(range))]);
    const key = await this.partKey(objectId);
    const digests: Bytes[] = [];
    for (const [at, part] of parts.entries()) {
      const from = Number(String(keys[at]).split("/").at(-1));
      const plain = await openWith(key, new Uint8Array(part as Bytes), position(from));
      if (plain === null || from !== digests.length) return [UNKNOWN];
      for (let start = 0; start < plain.length; start += DIGEST) digests.push(plain.slice(start, start + DIGEST));
    }
    return digests;
  }

  private key(objectId: Bytes): string {
    return `${toHex(this.vaultId)}/${toHex(objectId)}`;
  }

  private partsOf(objectId: Bytes): IDBKeyRange {
    return IDBKeyRange.bound(`${this.key(objectId)}/`, `${this.key(objectId)}/~`);
  }

  private async partKey(objectId: Bytes): Promise<Bytes> {
    return await this.root.derive(`${JOURNAL_LABEL}/parts`, this.vaultId, objectId);
  }

  private async write(change: (stores: Record<typeof UPLOADS | typeof PARTS, IDBObjectStore>) => void): Promise<void> {
    const transaction = this.database.transaction([UPLOADS, PARTS], "readwrite", { durability: "strict" });
    change({ uploads: transaction.objectStore(UPLOADS), parts: transaction.objectStore(PARTS) });
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("The browser's store refused to write."));
    });
  }
}

/** No segment has this digest, so a journal that cannot be read never lets one pass. */
const UNKNOWN: Bytes = new Uint8Array(DIGEST);

/** Whether segment `index` may leave: it is new, or the very one that may have left before. */
export function mayLeave(digests: readonly Bytes[], index: number, digest: Bytes): boolean {
  const noted = digests[index];
  return noted === undefined || equal(noted, digest);
}

function position(from: number): Bytes {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(from));
  return out;
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The browser's store does not answer."));
  });
}
