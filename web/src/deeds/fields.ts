/**
 * Reading one field of an untrusted document: its exact keys, its type, its range.
 *
 * Whatever is not exactly of the asked form is `InvalidInput` that names the field. Bytes are lower-case hex here.
 */

import { bigEndian, fromHex, toHex, type Bytes } from "../vault/bytes.ts";
import { InvalidInput } from "../vault/errors.ts";

export type Hex = `0x${string}`;

export const UINT16_MAX = 2 ** 16 - 1;
export const UINT40_MAX = 2 ** 40 - 1;
export const UINT64_MAX = (1n << 64n) - 1n;
export const UINT96_MAX = (1n << 96n) - 1n;
export const UINT256_MAX = (1n << 256n) - 1n;
/** No account: any runner, or an offer's grantee. */
export const NOBODY: Hex = `0x${"00".repeat(20)}`;

/** `value` as a map with exactly these keys. */
export function exactMap(value: unknown, keys: readonly string[], what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new InvalidInput(`${what} is not a map.`);
  }
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw new InvalidInput(`${what} holds an unknown field: '${unknown.slice(0, 60)}'.`);
  const missing = keys.find((key) => !Object.hasOwn(value, key));
  if (missing !== undefined) throw new InvalidInput(`${what} lacks the field '${missing}'.`);
  return value as Record<string, unknown>;
}

/** `value` as a list of a bounded length. */
export function exactList(value: unknown, what: string, atMost: number, atLeast = 0): readonly unknown[] {
  if (!Array.isArray(value) || value.length < atLeast || value.length > atMost) {
    throw new InvalidInput(`${what} is not a list of ${atLeast} to ${atMost} entries.`);
  }
  return value as unknown[];
}

/** `value` as an integer in atLeast … atMost, both exact as numbers. */
export function integer(value: unknown, what: string, atMost: number, atLeast = 0): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new InvalidInput(`${what} is not an integer.`);
  if (value < atLeast || value > atMost) {
    throw new InvalidInput(`${what} is ${value}; it must lie between ${atLeast} and ${atMost}.`);
  }
  return value;
}

/** `value`, a number or bigint, as an integer in 0 … atMost. */
export function bigInteger(value: unknown, what: string, atMost: bigint): bigint {
  if (typeof value !== "bigint" && !(typeof value === "number" && Number.isSafeInteger(value))) {
    throw new InvalidInput(`${what} is not an integer.`);
  }
  const found = BigInt(value);
  if (found < 0n || found > atMost) throw new InvalidInput(`${what} is ${found}; it must lie between 0 and ${atMost}.`);
  return found;
}

/** `value`, bytes of a dag-cbor document, as exactly `length` bytes. */
export function octets(value: unknown, what: string, length: number): Hex {
  if (!(value instanceof Uint8Array) || value.length !== length) {
    throw new InvalidInput(`${what} is not ${length} bytes long.`);
  }
  return hexOf(value);
}

/** `value`, a text, as the `length` bytes that it spells in lower-case hex with 0x in front. */
export function hexOctets(value: unknown, what: string, length: number): Hex {
  if (typeof value !== "string" || value.length !== 2 + 2 * length || !/^0x[0-9a-f]*$/.test(value)) {
    throw new InvalidInput(`${what} is not ${length} bytes of lower-case hex with 0x in front.`);
  }
  return value as Hex;
}

/** `value` as text of a bounded number of characters. */
export function text(value: unknown, what: string, atMost: number, atLeast = 1): string {
  const length = typeof value === "string" ? Array.from(value).length : -1;
  if (typeof value !== "string" || length < atLeast || length > atMost) {
    throw new InvalidInput(`${what} is not a text of ${atLeast} to ${atMost} characters.`);
  }
  return value;
}

/** `value` is exactly `expected`. */
export function constant(value: unknown, expected: number | string, what: string): void {
  if (value !== expected) throw new InvalidInput(`${what} is not ${expected}.`, "It may come from another version of Allod.");
}

/** Whether texts are sorted by their characters, each once. */
export function isSortedSet(texts: readonly string[]): boolean {
  return texts.every((each, at) => at === 0 || compareText(texts[at - 1] ?? "", each) < 0);
}

/** Order by code points, as Python sorts; `<` alone orders by UTF-16 units. */
export function compareText(a: string, b: string): number {
  const [ours, theirs] = [Array.from(a), Array.from(b)];
  for (let at = 0; at < Math.min(ours.length, theirs.length); at++) {
    const difference = (ours[at]?.codePointAt(0) ?? 0) - (theirs[at]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return ours.length - theirs.length;
}

export function hexOf(data: Uint8Array): Hex {
  return toHex(data) as Hex;
}

export function bytesOf(hex: Hex): Bytes {
  return fromHex(hex);
}

/** A number as one big-endian word of 32 bytes. */
export function wordOf(value: bigint | number): Bytes {
  return bigEndian(value, 32);
}

/** Big-endian bytes as a number. */
export function numberOf(hex: Hex): bigint {
  return BigInt(hex);
}
