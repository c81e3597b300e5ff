import { sha256 } from "@noble/hashes/sha2.js";

import { type Bytes, compare, concat, equal } from "./bytes.ts";
import { InvalidInput } from "./errors.ts";

export const RAW = 0x55;
export const DAG_PB = 0x70;
export const DAG_CBOR = 0x71;
export type Codec = typeof RAW | typeof DAG_PB | typeof DAG_CBOR;

export const CID_SIZE = 36;
/** Bytes of the largest block that anybody here reads or writes. */
export const MAX_BLOCK = 2 << 20;

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** SHA-256 of something small; what is large goes through `digest`. */
export function hash(...parts: readonly Uint8Array[]): Bytes {
  const state = sha256.create();
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}

/** SHA-256 by the browser itself: much faster for segments. */
export async function digest(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** CIDv1 of one block: sha2-256 over raw, dag-pb or dag-cbor, and nothing else. Its text is its identity. */
export class Cid {
  readonly #text: string;

  private constructor(
    readonly codec: Codec,
    readonly digest: Bytes,
  ) {
    this.#text = `b${toBase32(this.bytes)}`;
  }

  static make(codec: number, digest: Bytes): Cid {
    if ((codec !== RAW && codec !== DAG_PB && codec !== DAG_CBOR) || digest.length !== 32) {
      throw new InvalidInput("A CID here has codec raw, dag-pb or dag-cbor and a sha2-256 digest.");
    }
    return new Cid(codec, digest);
  }

  /** The identifier of a small block with this content. */
  static of(codec: Codec, data: Uint8Array): Cid {
    return new Cid(codec, hash(data));
  }

  /** The identifier of a large block with this content. */
  static async ofLarge(codec: Codec, data: Bytes): Promise<Cid> {
    return new Cid(codec, await digest(data));
  }

  /** Reads the text form (multibase base32, "b…") or the 36 binary bytes; anything else is `InvalidInput`. */
  static parse(value: string | Uint8Array): Cid {
    const data = typeof value === "string" ? fromBase32(value) : value;
    if (data.length !== CID_SIZE || data[0] !== 1 || data[2] !== 0x12 || data[3] !== 0x20) throw wrong();
    const codec = data[1];
    if (codec !== RAW && codec !== DAG_PB && codec !== DAG_CBOR) throw wrong();
    return new Cid(codec, new Uint8Array(data.slice(4)));
  }

  /** The binary form: 0x01, codec, 0x12, 0x20, digest. */
  get bytes(): Bytes {
    return concat(new Uint8Array([1, this.codec, 0x12, 0x20]), this.digest);
  }

  toString(): string {
    return this.#text;
  }

  toJSON(): string {
    return this.#text;
  }

  equals(other: Cid | null): boolean {
    return other !== null && this.codec === other.codec && equal(this.digest, other.digest);
  }

  /** Order by codec, then digest. */
  static order(a: Cid, b: Cid): number {
    return a.codec - b.codec || compare(a.digest, b.digest);
  }
}

function wrong(): InvalidInput {
  return new InvalidInput(
    "Not a CID of version 1 with sha2-256 and codec raw, dag-pb or dag-cbor.",
    "Convert it with: ipfs cid format -v 1 -b base32",
  );
}

function toBase32(data: Uint8Array): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of data) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(held >> bits) & 31];
    }
  }
  return bits > 0 ? text + ALPHABET[(held << (5 - bits)) & 31] : text;
}

function fromBase32(text: string): Bytes {
  if (text.length !== 59 || text[0] !== "b") throw wrong();
  const out = new Uint8Array(CID_SIZE);
  let held = 0;
  let bits = 0;
  let at = 0;
  for (const letter of text.slice(1)) {
    const value = ALPHABET.indexOf(letter);
    if (value < 0) throw wrong();
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = held >> bits;
    }
  }
  // 58 characters carry two spare bits: only the form with both clear is the CID's one spelling.
  if ((held & ((1 << bits) - 1)) !== 0) throw wrong();
  return out;
}
