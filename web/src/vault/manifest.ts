/** The signed and hashed documents of a vault, each one dag-cbor block (docs/format/30-vault.md). */
import { type Bytes, compare, concat, equal, utf8 } from "./bytes.ts";
import { Link, encodeCbor } from "./cbor.ts";
import { Cid, DAG_CBOR, DAG_PB, RAW, hash } from "./cid.ts";
import { MAX_COUNT, readDocument } from "./documents.ts";
import { Corrupted, InvalidInput } from "./errors.ts";
import { Tree } from "./merkle.ts";
import { type SigningKey, isSigned } from "./rootkey.ts";
import { segmentCount } from "./segments.ts";

const ALG = "AES256_GCM_HKDF_1MB";
const HEAD_CONTEXT = utf8("allod/vault-head/v1\0");
const PAGE = 1024;
const WRAP_SIZE = 60;
const MAX_META = 64 << 10;

export type PageKind = "page" | "members";

/** One sealed object. `size` is the ciphertext's; `wrap` the DEK and `meta` its description, sealed. */
export interface ObjectManifest {
  readonly vaultId: Bytes;
  readonly objectId: Bytes;
  readonly payload: Cid;
  readonly size: number;
  readonly dekCommit: Bytes;
  readonly wrap: Bytes;
  readonly meta: Bytes;
}

export function encodeManifest(manifest: ObjectManifest): Bytes {
  return encodeCbor({
    v: 1,
    kind: "object",
    vault: manifest.vaultId,
    object: manifest.objectId,
    payload: Link.to(manifest.payload),
    size: manifest.size,
    alg: ALG,
    dek_commit: manifest.dekCommit,
    wrap: manifest.wrap,
    meta: manifest.meta,
  });
}

/** A manifest from its block, or `InvalidInput`. */
export function decodeManifest(data: Uint8Array): ObjectManifest {
  const names = ["vault", "object", "payload", "size", "alg", "dek_commit", "wrap", "meta"];
  const members = readDocument(data, "object", names);
  if (members.text("alg") !== ALG) {
    throw new InvalidInput("The object is sealed by an algorithm that this program does not know.");
  }
  const [payload, size, meta] = [members.cid("payload"), members.number("size"), members.octets("meta")];
  if (payload.codec !== RAW && payload.codec !== DAG_PB) throw new InvalidInput("The object's payload is not a file.");
  try {
    segmentCount(size);
  } catch (error) {
    throw error instanceof Corrupted ? new InvalidInput(error.message, error.hint) : error;
  }
  if (meta.length > MAX_META) {
    throw new InvalidInput(`The object's sealed description has ${meta.length} bytes; at most ${MAX_META} are read.`);
  }
  return {
    vaultId: members.octets("vault", 32),
    objectId: members.octets("object", 32),
    payload,
    size,
    dekCommit: members.octets("dek_commit", 32),
    wrap: members.octets("wrap", WRAP_SIZE),
    meta,
  };
}

/** An owner's immutable set of objects. `root` is over the manifests' sha256 in object_id order. */
export interface DatasetHeader {
  readonly vaultId: Bytes;
  readonly manifestPk: Bytes;
  readonly root: Bytes;
  readonly objects: number;
  readonly records: number;
  readonly card: Cid;
}

/** The header's block: `asset` = keccak256(owner ‖ sha256 of these bytes). */
export function encodeHeader(header: DatasetHeader): Bytes {
  return encodeCbor({
    v: 1,
    kind: "dataset",
    vault: header.vaultId,
    manifest_pk: header.manifestPk,
    root: header.root,
    objects: header.objects,
    records: header.records,
    card: Link.to(header.card),
  });
}

/** A header from its block, or `InvalidInput`. */
export function decodeHeader(data: Uint8Array): DatasetHeader {
  const members = readDocument(data, "dataset", ["vault", "manifest_pk", "root", "objects", "records", "card"]);
  const card = members.cid("card");
  if (card.codec !== DAG_CBOR) throw new InvalidInput("The dataset's card is no document.");
  return {
    vaultId: members.octets("vault", 32),
    manifestPk: members.octets("manifest_pk", 32),
    root: members.octets("root", 32),
    objects: members.number("objects", 1, 2 ** 32 - 1),
    records: members.number("records", 0, MAX_COUNT),
    card,
  };
}

/** The tree over a dataset's encoded manifests; `InvalidInput` unless in object_id order, each once. */
export function datasetTree(manifests: readonly Uint8Array[]): Tree {
  const ids = manifests.map((manifest) => decodeManifest(manifest).objectId);
  if (ids.some((id, index) => index > 0 && compare(ids[index - 1] as Bytes, id) >= 0)) {
    throw new InvalidInput("A dataset's manifests come in the order of their object ids, each once.");
  }
  return new Tree(manifests.map((manifest) => hash(manifest)));
}

/** A vault at one moment; `sequence` counts changes, and the valid head of the highest sequence is the vault. */
export interface VaultHead {
  readonly vaultId: Bytes;
  readonly manifestPk: Bytes;
  readonly sequence: number;
  readonly objects: readonly Cid[];
  readonly datasets: readonly Cid[];
  readonly records: readonly Cid[];
}

function unsigned(head: VaultHead): Record<string, string | number | Bytes | Link[]> {
  return {
    v: 1,
    kind: "head",
    vault: head.vaultId,
    manifest_pk: head.manifestPk,
    sequence: head.sequence,
    objects: head.objects.map(Link.to),
    datasets: head.datasets.map(Link.to),
    records: head.records.map(Link.to),
  };
}

/** The signed head's block; `key` must be the one that `manifestPk` names. */
export async function encodeHead(head: VaultHead, key: SigningKey): Promise<Bytes> {
  if (!equal(key.publicKey, head.manifestPk)) throw new InvalidInput("A head is signed by the key it names.");
  const members = unsigned(head);
  return encodeCbor({ ...members, sig: await key.sign(concat(HEAD_CONTEXT, encodeCbor(members))) });
}

/** A head from its block: `InvalidInput` if it is none, `Corrupted` if its signature is wrong. */
export async function decodeHead(data: Uint8Array): Promise<VaultHead> {
  const names = ["vault", "manifest_pk", "sequence", "objects", "datasets", "records", "sig"];
  const members = readDocument(data, "head", names);
  const head: VaultHead = {
    vaultId: members.octets("vault", 32),
    manifestPk: members.octets("manifest_pk", 32),
    sequence: members.number("sequence", 1),
    objects: members.cids("objects"),
    datasets: members.cids("datasets"),
    records: members.cids("records"),
  };
  if (!(await isSigned(head.manifestPk, members.octets("sig", 64), concat(HEAD_CONTEXT, encodeCbor(unsigned(head)))))) {
    throw new Corrupted("A vault head has a wrong signature.", "Fetch it again from another copy.");
  }
  return head;
}

/** Blocks of up to 1,024 links each. Appending changes the last page only, so the others keep their CIDs. */
export function encodePages(cids: readonly Cid[], kind: PageKind): Bytes[] {
  const pages: Bytes[] = [];
  for (let start = 0; start < cids.length; start += PAGE) {
    pages.push(encodeCbor({ v: 1, kind, cids: cids.slice(start, start + PAGE).map(Link.to) }));
  }
  return pages;
}

/** The links of a page of this kind, or `InvalidInput`. */
export function decodePage(data: Uint8Array, kind: PageKind): Cid[] {
  const cids = readDocument(data, kind, ["cids"]).cids("cids");
  if (cids.length === 0 || cids.length > PAGE) throw new InvalidInput(`A page has between 1 and ${PAGE} links.`);
  return cids;
}
