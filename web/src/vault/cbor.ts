/** Deterministic dag-cbor: shortest integers, map keys by length then bytes, no floats; decoders refuse all else. */
import { type Bytes, compare, fromUtf8, joined, utf8 } from "./bytes.ts";
import { InvalidInput } from "./errors.ts";
import { Cid } from "./cid.ts";

const MAX_DEPTH = 32;
const LIMIT = 4 << 20;

/** An IPLD link inside dag-cbor: tag 42 over 0x00 ‖ the binary CID. */
export class Link {
  constructor(readonly cid: Bytes) {}

  static to(cid: Cid): Link {
    return new Link(cid.bytes);
  }
}

/** What dag-cbor holds here. Integers are numbers where they are exact, bigint beyond 2^53 − 1. */
export type Value =
  null | boolean | number | bigint | string | Uint8Array | Link | readonly Value[] | { readonly [key: string]: Value };

/** A map as read: it has no prototype, so that a key is a key whatever its name. */
export type CborMap = { readonly [key: string]: Value };

export function isMap(value: Value | undefined): value is CborMap {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array) &&
    !(value instanceof Link)
  );
}

/** The one encoding of a value; `InvalidInput` if it has none. */
export function encodeCbor(value: Value): Bytes {
  const parts: Uint8Array[] = [];
  write(value, parts, 0);
  return joined(parts);
}

function write(value: Value, parts: Uint8Array[], depth: number): void {
  if (depth > MAX_DEPTH) throw new InvalidInput(`dag-cbor nested deeper than ${MAX_DEPTH} levels.`);
  if (value === null) parts.push(new Uint8Array([0xf6]));
  else if (typeof value === "boolean") parts.push(new Uint8Array([value ? 0xf5 : 0xf4]));
  else if (typeof value === "number" || typeof value === "bigint") {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      throw new InvalidInput("dag-cbor here holds whole numbers only, exact ones.");
    }
    const number = BigInt(value);
    parts.push(number < 0n ? head(1, -1n - number) : head(0, number));
  } else if (typeof value === "string") {
    const data = utf8(value);
    parts.push(head(3, data.length), data);
  } else if (value instanceof Uint8Array) parts.push(head(2, value.length), value);
  else if (value instanceof Link) parts.push(head(6, 42), head(2, value.cid.length + 1), new Uint8Array(1), value.cid);
  else if (isMap(value)) {
    const entries = Object.entries(value).map(([key, item]) => ({ key: utf8(key), item }));
    entries.sort((a, b) => a.key.length - b.key.length || compare(a.key, b.key));
    parts.push(head(5, entries.length));
    for (const { key, item } of entries) {
      parts.push(head(3, key.length), key);
      write(item, parts, depth + 1);
    }
  } else if (Array.isArray(value)) {
    parts.push(head(4, value.length));
    for (const item of value as readonly Value[]) write(item, parts, depth + 1);
  } else throw new InvalidInput(`A value of type ${typeof value} has no dag-cbor form.`);
}

function head(kind: number, argument: number | bigint): Bytes {
  const number = BigInt(argument);
  if (number < 24n) return new Uint8Array([(kind << 5) | Number(number)]);
  for (const [code, width] of [
    [24, 1],
    [25, 2],
    [26, 4],
    [27, 8],
  ] as const) {
    if (number < 1n << BigInt(8 * width)) {
      const out = new Uint8Array(1 + width);
      out[0] = (kind << 5) | code;
      for (let i = 0; i < width; i++) out[width - i] = Number((number >> BigInt(8 * i)) & 0xffn);
      return out;
    }
  }
  throw new InvalidInput("An integer beyond 64 bits has no dag-cbor form.");
}

/** Parses one value; anything that `encodeCbor` would write in another way is `InvalidInput`. */
export function decodeCbor(data: Uint8Array, limit = LIMIT): Value {
  if (data.length > limit) throw new InvalidInput(`Block of ${data.length} bytes; at most ${limit} are accepted.`);
  const reader = new Reader(data);
  const value = reader.value(0);
  if (reader.at !== data.length) throw new InvalidInput("Not one dag-cbor value.");
  return value;
}

class Reader {
  at = 0;

  constructor(private readonly data: Uint8Array) {}

  value(depth: number): Value {
    if (depth > MAX_DEPTH) throw new InvalidInput(`dag-cbor nested deeper than ${MAX_DEPTH} levels.`);
    const first = this.byte();
    const kind = first >> 5;
    if (kind === 7) {
      if (first === 0xf4 || first === 0xf5) return first === 0xf5;
      if (first === 0xf6) return null;
      throw new InvalidInput("dag-cbor holds true, false and null, and here no floats.");
    }
    const argument = this.argument(first & 31);
    switch (kind) {
      case 0:
        return plain(argument);
      case 1:
        return plain(-1n - argument);
      case 2:
        return this.take(argument).slice();
      case 3:
        return fromUtf8(this.take(argument));
      case 4:
        return this.list(argument, depth);
      case 5:
        return this.map(argument, depth);
      default:
        return this.link(argument);
    }
  }

  private byte(): number {
    const byte = this.data[this.at++];
    if (byte === undefined) throw new InvalidInput("The dag-cbor value is cut short.");
    return byte;
  }

  private argument(code: number): bigint {
    if (code < 24) return BigInt(code);
    if (code > 27) throw new InvalidInput("dag-cbor has no lengths left open.");
    const width = 1 << (code - 24);
    let number = 0n;
    for (let i = 0; i < width; i++) number = (number << 8n) | BigInt(this.byte());
    if (number < (width === 1 ? 24n : 1n << BigInt(4 * width))) {
      throw new InvalidInput("The value is not in deterministic dag-cbor form.");
    }
    return number;
  }

  private take(length: bigint): Uint8Array {
    if (length > BigInt(this.data.length - this.at)) throw new InvalidInput("The dag-cbor value is cut short.");
    const start = this.at;
    this.at += Number(length);
    return this.data.subarray(start, this.at);
  }

  private list(length: bigint, depth: number): Value[] {
    if (length > BigInt(this.data.length - this.at)) throw new InvalidInput("The dag-cbor value is cut short.");
    const out: Value[] = [];
    for (let i = 0n; i < length; i++) out.push(this.value(depth + 1));
    return out;
  }

  private map(length: bigint, depth: number): CborMap {
    if (length > BigInt(this.data.length - this.at)) throw new InvalidInput("The dag-cbor value is cut short.");
    const out = Object.create(null) as Record<string, Value>;
    let before: Uint8Array | null = null;
    for (let i = 0n; i < length; i++) {
      const first = this.byte();
      if (first >> 5 !== 3) throw new InvalidInput("dag-cbor maps have text keys only.");
      const key = this.take(this.argument(first & 31));
      if (before !== null && (before.length - key.length || compare(before, key)) >= 0) {
        throw new InvalidInput("The value is not in deterministic dag-cbor form.");
      }
      before = key;
      out[fromUtf8(key)] = this.value(depth + 1);
    }
    return out;
  }

  private link(tag: bigint): Link {
    const first = this.byte();
    if (tag !== 42n || first >> 5 !== 2) throw new InvalidInput("dag-cbor knows tag 42 (a link) only.");
    const data = this.take(this.argument(first & 31));
    if (data[0] !== 0) throw new InvalidInput("dag-cbor knows tag 42 (a link) only.");
    return new Link(data.slice(1) as Bytes);
  }
}

function plain(number: bigint): number | bigint {
  return number >= BigInt(Number.MIN_SAFE_INTEGER) && number <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(number)
    : number;
}
