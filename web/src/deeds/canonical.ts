/**
 * Canonical JSON (RFC 8785) without fractional numbers: one value has exactly one encoding, and decoders refuse all else.
 *
 * That is what lets a signature over bytes be a signature over a meaning.
 */

import { equal, fromUtf8, utf8, type Bytes } from "../vault/bytes.ts";
import { InvalidInput } from "../vault/errors.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const MAX_DEPTH = 32;

/** The RFC 8785 form of a document. */
export function encodeJson(value: Json): Bytes {
  return utf8(written(value, 0));
}

function written(value: Json, depth: number): string {
  if (depth > MAX_DEPTH) throw new InvalidInput(`JSON nested deeper than ${MAX_DEPTH} levels.`);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) {
      throw new InvalidInput("Allod documents hold integers up to 2^53 − 1 only; write other amounts as strings.");
    }
    return String(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new InvalidInput("A document holds half a character.");
    return JSON.stringify(value);
  }
  if (value === null || typeof value === "boolean") return String(value);
  if (isList(value)) return `[${value.map((item) => written(item, depth + 1)).join(",")}]`;
  // JavaScript sorts texts by UTF-16 units, as RFC 8785 wants keys sorted.
  const members = Object.keys(value).sort().map((key) => `${written(key, 0)}:${written(value[key] ?? null, depth + 1)}`);
  return `{${members.join(",")}}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** Parse canonical JSON of at most `limit` bytes; anything that would encode differently is `InvalidInput`. */
export function decodeJson(data: Uint8Array, limit: number): unknown {
  if (data.length > limit) throw new InvalidInput(`Document of ${data.length} bytes; at most ${limit} are accepted.`);
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(data));
  } catch {
    throw new InvalidInput("Not a JSON document.");
  }
  if (!equal(encodeJson(value as Json), data)) {
    throw new InvalidInput("The document is not in canonical form (RFC 8785).");
  }
  return value;
}
