/** What an owner sees of a sealed object, and what an owner keeps for themselves: both sealed under the root key. */
import { type Bytes, random } from "./bytes.ts";
import { type CborMap, encodeCbor } from "./cbor.ts";
import type { Cid } from "./cid.ts";
import { readDocument, readMap } from "./documents.ts";
import { InvalidInput } from "./errors.ts";
import type { Body, Description, Entry } from "./interfaces.ts";
import type { ObjectManifest } from "./manifest.ts";
import { META_LABEL, RECORD_LABEL, type RootKey } from "./rootkey.ts";
import { openDocument, sealDocument } from "./wrapping.ts";

const MAX_NAME = 4096; // characters
const MAX_NOTES = 16 << 10;
const LAST_SECOND = 253402300799; // of the year 9999

/** What a description holds beside what readers found. */
export interface Named {
  readonly name: string;
  readonly size: number;
  readonly added: number;
  readonly notes: string;
}

/** Refuses what no description may be called. */
export function checkNames(name: string, notes: string): void {
  if (name === "" || [...name].length > MAX_NAME || [...notes].length > MAX_NOTES) {
    throw new InvalidInput(`A name has 1 to ${MAX_NAME} characters, notes up to ${MAX_NOTES}.`);
  }
}

/** The manifest's `meta`: everything about an object that only its owner reads. */
export async function sealDescription(
  root: RootKey,
  vaultId: Bytes,
  objectId: Bytes,
  named: Named,
  found: Description,
): Promise<Bytes> {
  checkNames(named.name, named.notes);
  return await sealDocument(root, META_LABEL, vaultId, objectId, {
    name: named.name,
    type: found.mediaType,
    size: named.size,
    added: named.added,
    records: found.records,
    broken: found.broken,
    notes: named.notes,
  });
}

/** The entry of a manifest of this root key's vault; `Corrupted` if its description does not open. */
export async function readEntry(
  root: RootKey,
  manifest: ObjectManifest,
  cid: Cid,
  datasets: readonly Bytes[],
): Promise<Entry> {
  const value = await openDocument(root, META_LABEL, manifest.vaultId, manifest.objectId, manifest.meta);
  const names = ["name", "type", "size", "added", "records", "broken", "notes"];
  const members = readMap(value, "object description", names);
  return {
    objectId: manifest.objectId,
    name: members.text("name"),
    mediaType: members.text("type"),
    size: members.number("size"),
    added: members.number("added", 0, LAST_SECOND),
    records: members.number("records"),
    broken: members.number("broken"),
    notes: members.text("notes"),
    manifest: cid,
    payload: manifest.payload,
    datasets,
  };
}

/** One of the owner's own documents: terms, a signed consent, what was published where. */
export interface OwnRecord {
  readonly vaultId: Bytes;
  readonly kind: string;
  readonly body: CborMap;
}

/** The block of a document; a new one each time. */
export async function sealRecord(root: RootKey, vaultId: Bytes, kind: string, body: Body): Promise<Bytes> {
  const record = random(32);
  const sealed = await sealDocument(root, RECORD_LABEL, vaultId, record, { kind, body });
  return encodeCbor({ v: 1, kind: "record", vault: vaultId, record, sealed });
}

/** The document of a block: `InvalidInput` if it is no such block, `Corrupted` if it does not open. */
export async function openRecord(root: RootKey, data: Uint8Array): Promise<OwnRecord> {
  const block = readDocument(data, "record", ["vault", "record", "sealed"]);
  const vaultId = block.octets("vault", 32);
  const value = await openDocument(root, RECORD_LABEL, vaultId, block.octets("record", 32), block.octets("sealed"));
  const members = readMap(value, "owner's record", ["kind", "body"]);
  return { vaultId, kind: members.text("kind"), body: members.document("body") };
}
