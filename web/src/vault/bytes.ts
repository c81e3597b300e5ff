import { InvalidInput } from "./errors.ts";

/** Bytes in memory of their own, as WebCrypto takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

export const EMPTY: Bytes = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** One array of all parts, in order. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  return joined(parts);
}

/** The same of a list, which may be longer than a call takes arguments. */
export function joined(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** UTF-8 of a text; `InvalidInput` if it holds half a character. */
export function utf8(text: string): Bytes {
  if (!text.isWellFormed()) throw new InvalidInput("A text holds half a character.");
  return encoder.encode(text);
}

/** The text of UTF-8 bytes; `InvalidInput` if they are none. */
export function fromUtf8(data: Uint8Array): string {
  try {
    return decoder.decode(data);
  } catch {
    throw new InvalidInput("The bytes are no UTF-8 text.");
  }
}

/** Whether both hold the same bytes. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

/** Order of bytes: negative if `a` comes first. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** `data` as lower-case hex with 0x in front. */
export function toHex(data: Uint8Array): string {
  let text = "0x";
  for (const byte of data) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** The bytes of 0x-prefixed hex; of exactly `length` bytes if given. */
export function fromHex(text: unknown, length?: number): Bytes {
  if (typeof text !== "string" || !/^0x([0-9a-fA-F]{2})*$/.test(text)) {
    throw new InvalidInput("Expected hex that starts with 0x.");
  }
  const data = new Uint8Array((text.length - 2) / 2);
  for (let i = 0; i < data.length; i++) data[i] = Number.parseInt(text.slice(2 + 2 * i, 4 + 2 * i), 16);
  if (length !== undefined && data.length !== length) {
    throw new InvalidInput(`Expected ${length} bytes of hex, got ${data.length}.`);
  }
  return data;
}

/** `length` bytes from the system's random source. */
export function random(length: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** A number as big-endian bytes. */
export function bigEndian(number: number | bigint, length: number): Bytes {
  const out = new Uint8Array(length);
  let rest = BigInt(number);
  for (let i = length - 1; i >= 0; i--) {
    out[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}
