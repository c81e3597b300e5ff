/** The share table of one dataset: a signed head, and one row an object under its Merkle root (docs/format/40). */
import { type Bytes, compare, concat, equal, utf8 } from "./bytes.ts";
import { Link, decodeCbor, encodeCbor } from "./cbor.ts";
import { Cid, DAG_CBOR } from "./cid.ts";
import { readDocument, readMap } from "./documents.ts";
import { Corrupted, InvalidInput } from "./errors.ts";
import type { BlockSink } from "./interfaces.ts";
import { Tree, verify } from "./merkle.ts";
import { type SigningKey, isSigned } from "./rootkey.ts";
import { SHARE, checkThreshold } from "./shares.ts";
import type { Getter } from "./unixfs.ts";

const SIGN_CONTEXT = utf8("allod/share-table/v1\0");
const ENVELOPE = 1168; // an HPKE envelope around a 32-byte seed
const CELL = SHARE + 16;
const PAGE_BYTES = 1 << 20;

/** What a table's signature covers. `sealed` holds E_1 … E_n; `rowsRoot` is over the encoded rows. */
export interface ShareHead {
  readonly asset: Bytes;
  readonly batchId: Bytes;
  readonly committeeId: Bytes;
  readonly t: number;
  readonly n: number;
  readonly sealed: readonly Bytes[];
  readonly rowsRoot: Bytes;
  readonly rows: number;
  readonly sequence: number;
}

/** One object's cells, and the hashes its shares must meet, in keeper order. */
export interface ShareRow {
  readonly objectId: Bytes;
  readonly cells: readonly Bytes[];
  readonly hashes: readonly Bytes[];
}

/** A whole table: the signed head's bytes, the signature, all encoded rows in object_id order. */
export interface ShareTable {
  readonly head: Bytes;
  readonly sig: Bytes;
  readonly rows: readonly Bytes[];
}

export function encodeShareHead(head: ShareHead): Bytes {
  return encodeCbor({
    v: 1,
    kind: "shares",
    asset: head.asset,
    batch: head.batchId,
    committee: head.committeeId,
    t: head.t,
    n: head.n,
    sealed: head.sealed,
    rows_root: head.rowsRoot,
    rows: head.rows,
    sequence: head.sequence,
  });
}

/** A head from its bytes, or `InvalidInput`. Its signature is checked by `verifyShareHead`. */
export function decodeShareHead(data: Uint8Array): ShareHead {
  const names = ["asset", "batch", "committee", "t", "n", "sealed", "rows_root", "rows", "sequence"];
  const members = readDocument(data, "shares", names);
  const [t, n] = [members.number("t", 2, 255), members.number("n", 2, 255)];
  checkThreshold(t, n);
  const sealed = members.chunks("sealed", ENVELOPE);
  if (sealed.length !== n) throw new InvalidInput(`A share table for ${n} keepers has ${n} sealed seeds.`);
  return {
    asset: members.octets("asset", 32),
    batchId: members.octets("batch", 16),
    committeeId: members.octets("committee", 32),
    t,
    n,
    sealed,
    rowsRoot: members.octets("rows_root", 32),
    rows: members.number("rows", 1, 2 ** 32 - 1),
    sequence: members.number("sequence"),
  };
}

/** The row's bytes: a leaf of the table's tree. */
export function encodeShareRow(row: ShareRow): Bytes {
  return encodeCbor({ object: row.objectId, cells: row.cells, hashes: row.hashes });
}

/** A row from its bytes, or `InvalidInput`. */
export function decodeShareRow(data: Uint8Array): ShareRow {
  const members = readMap(decodeCbor(data), "share row", ["object", "cells", "hashes"]);
  const [cells, hashes] = [members.chunks("cells", CELL), members.chunks("hashes", 32)];
  if (cells.length !== hashes.length || cells.length < 2 || cells.length > 255) {
    throw new InvalidInput("A share row has a cell and a hash for each keeper.");
  }
  return { objectId: members.octets("object", 32), cells, hashes };
}

/** The head that `manifestPk` signed; `Corrupted` if it did not. */
export async function verifyShareHead(data: Bytes, sig: Bytes, manifestPk: Bytes): Promise<ShareHead> {
  if (!(await isSigned(manifestPk, sig, concat(SIGN_CONTEXT, data)))) {
    throw new Corrupted("The share table is not signed by the dataset's manifest key.", "Take it from its publisher.");
  }
  return decodeShareHead(data);
}

/** The row, proved to be number `index` of the table; `Corrupted` if it is not. */
export function verifyShareRow(head: ShareHead, data: Bytes, index: number, proof: readonly Bytes[]): ShareRow {
  if (!verify(head.rowsRoot, data, index, head.rows, proof)) {
    throw new Corrupted("The row is not part of the share table.", "Take it from its publisher.");
  }
  const row = decodeShareRow(data);
  if (row.cells.length !== head.n) {
    throw new Corrupted("The row has not one cell for each keeper.", "Take it from its publisher.");
  }
  return row;
}

/** The signed table of these rows, which are in object_id order; the head's root and count are set here. */
export async function buildTable(
  head: Omit<ShareHead, "rows" | "rowsRoot">,
  rows: readonly ShareRow[],
  key: SigningKey,
): Promise<ShareTable> {
  const encoded = rows.map(encodeShareRow);
  const data = encodeShareHead({ ...head, rowsRoot: new Tree(encoded).root, rows: encoded.length });
  decodeShareHead(data); // what is signed can be read
  return { head: data, sig: await key.sign(concat(SIGN_CONTEXT, data)), rows: encoded };
}

/** Puts the table into `sink` and gives its root. */
export async function storeTable(table: ShareTable, sink: BlockSink): Promise<Cid> {
  const put = async (block: Bytes): Promise<Link> => {
    const cid = Cid.of(DAG_CBOR, block);
    await sink.put(cid, block);
    return Link.to(cid);
  };
  const pages: Link[] = [];
  let page: Bytes[] = [];
  let size = 0;
  for (const row of table.rows) {
    if (page.length > 0 && size + row.length > PAGE_BYTES) {
      pages.push(await put(encodeCbor({ v: 1, kind: "share-rows", rows: page })));
      [page, size] = [[], 0];
    }
    page.push(row);
    size += row.length;
  }
  pages.push(await put(encodeCbor({ v: 1, kind: "share-rows", rows: page })));
  const root = await put(encodeCbor({ v: 1, kind: "share-table", head: table.head, sig: table.sig, pages }));
  return Cid.parse(root.cid);
}

/** The table under `root`, once signature, order and root of all rows hold; `Corrupted` otherwise. */
export async function loadTable(root: Cid, get: Getter, manifestPk: Bytes): Promise<ShareTable> {
  const members = readDocument(await get(root), "share-table", ["head", "sig", "pages"]);
  const rows: Bytes[] = [];
  for (const page of members.cids("pages")) {
    rows.push(...readDocument(await get(page), "share-rows", ["rows"]).chunks("rows"));
  }
  const table = { head: members.octets("head"), sig: members.octets("sig", 64), rows };
  const head = await verifyShareHead(table.head, table.sig, manifestPk);
  const decoded = rows.map(decodeShareRow);
  const ordered = decoded.every(
    (row, index) => index === 0 || compare((decoded[index - 1] as ShareRow).objectId, row.objectId) < 0,
  );
  const widths = decoded.every((row) => row.cells.length === head.n);
  if (!ordered || !widths || rows.length !== head.rows || !equal(new Tree(rows).root, head.rowsRoot)) {
    throw new Corrupted("The rows are not those of the signed share table.", "Fetch it again.");
  }
  return table;
}
