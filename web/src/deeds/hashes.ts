/** SHA-256 and Keccak-256 over what stands side by side. */

import { sha256 as sha } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

import { joined, utf8, type Bytes } from "../vault/bytes.ts";

export function keccak(...parts: readonly (Uint8Array | string)[]): Bytes {
  return keccak_256(inOne(parts)) as Bytes;
}

export function sha256(...parts: readonly (Uint8Array | string)[]): Bytes {
  return sha(inOne(parts)) as Bytes;
}

function inOne(parts: readonly (Uint8Array | string)[]): Bytes {
  return joined(parts.map((part) => (typeof part === "string" ? utf8(part) : part)));
}
