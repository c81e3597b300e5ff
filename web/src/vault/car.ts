/** CARv1: `{roots, version: 1}`, then blocks as uvarint(36 + length) ‖ CID ‖ block (docs/format/20-blocks.md). */
import { type Bytes, concat } from "./bytes.ts";
import { Link, decodeCbor, encodeCbor, isMap } from "./cbor.ts";
import { CID_SIZE, Cid, MAX_BLOCK } from "./cid.ts";
import { AllodError, Corrupted, InvalidInput } from "./errors.ts";
import { encodeVarint } from "./varint.ts";
import { verified } from "./unixfs.ts";

const MAX_HEADER = 64 << 10;
const HINT = "Fetch the archive again, or export it anew; blocks read before this point were verified.";

/** A block with its name. */
export interface Block {
  readonly cid: Cid;
  readonly data: Bytes;
}

function header(roots: readonly Cid[]): Bytes {
  const encoded = encodeCbor({ roots: roots.map(Link.to), version: 1 });
  return concat(encodeVarint(encoded.length), encoded);
}

/** The first bytes of an archive without roots. */
export const CAR_HEADER = header([]);

/** Bytes that a block of this length takes in an archive. */
export function framedSize(length: number): number {
  return encodeVarint(CID_SIZE + length).length + CID_SIZE + length;
}

/** An archive of these blocks, in their order. */
export function writeCar(blocks: Iterable<Block>, roots: readonly Cid[] = []): Bytes {
  const parts: Bytes[] = [header(roots)];
  for (const { cid, data } of blocks) {
    if (data.length > MAX_BLOCK) throw new InvalidInput(`A block of ${data.length} bytes is too large.`);
    parts.push(encodeVarint(CID_SIZE + data.length), cid.bytes, data);
  }
  return concat(...parts);
}

/** The blocks of an archive, each checked; every error of the form is `Corrupted`. No root is believed. */
export async function* readCar(data: Bytes): AsyncGenerator<Block> {
  let [length, at] = lengthAt(data, 0);
  if (length === 0 || length > MAX_HEADER || at + length > data.length) {
    throw new Corrupted("Not a CARv1 file: it has no header of a sensible length.", HINT);
  }
  checkHeader(data.subarray(at, at + length));
  at += length;
  while (at < data.length) {
    [length, at] = lengthAt(data, at);
    if (length < CID_SIZE || length > CID_SIZE + MAX_BLOCK) {
      throw new Corrupted("The archive holds a block that is malformed or far too large.", HINT);
    }
    if (at + length > data.length) throw new Corrupted("The archive is cut short.", HINT);
    const cid = asCorrupted(() => Cid.parse(data.subarray(at, at + CID_SIZE)));
    yield { cid, data: await verified(cid, data.slice(at + CID_SIZE, at + length)) };
    at += length;
  }
}

function checkHeader(data: Uint8Array): void {
  const value = asCorrupted(() => decodeCbor(data));
  const roots = isMap(value) ? value["roots"] : undefined;
  if (!isMap(value) || Object.keys(value).length !== 2 || value["version"] !== 1 || !Array.isArray(roots)) {
    throw new Corrupted("The archive's header is not that of CAR version 1.", "Export it as CAR version 1.");
  }
  for (const root of roots) {
    if (!(root instanceof Link)) throw new Corrupted("A root of the archive is no link.", HINT);
    asCorrupted(() => Cid.parse(root.cid));
  }
}

function lengthAt(data: Uint8Array, offset: number): [number, number] {
  let number = 0;
  for (let i = 0; i < 4; i++) {
    const byte = data[offset + i];
    if (byte === undefined) throw new Corrupted("The archive is cut short.", HINT);
    number |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (byte === 0 && i > 0) break;
      return [number, offset + i + 1];
    }
  }
  throw new Corrupted("The archive holds a length that is malformed or far too large.", HINT);
}

function asCorrupted<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof AllodError) throw new Corrupted(error.message, HINT);
    throw error;
  }
}
