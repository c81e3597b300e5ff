/** SHA-256 and Keccak-256 over what stands side by side. */

import { sha256 as sha } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { concat, utf8, type Bytes } from "../vault/bytes.ts";

export function keccak(...parts: readonly (Uint8Array | string)[]): Bytes {
  return keccak_256(joined(parts)) as Bytes;
}

export function sha256(...parts: readonly (Uint8Array | string)[]): Bytes {
  return sha(joined(parts)) as Bytes;
}

function joined(parts: readonly (Uint8Array | string)[]): Bytes {
  return concat(...parts.map((part) => (typeof part === "string" ? utf8(part) : part)));
}
