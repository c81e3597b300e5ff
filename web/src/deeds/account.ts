/**
 * A secp256k1 account in the page: its address, its signatures, and recovery of the signer from a signature.
 *
 * Signatures are r ‖ s ‖ v with a low s (EIP-2) and v 27 or 28; recovery accepts nothing else.
 */

import { secp256k1 } from "@noble/curves/secp256k1.js";

import { concat, fromHex, utf8, type Bytes } from "../vault/bytes.ts";
import { InvalidInput } from "../vault/errors.ts";
import { hexOf, NOBODY, type Hex } from "./fields.ts";
import { keccak } from "./hashes.ts";

// Written out, so that who only writes addresses does not load the curve.
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const HALF_ORDER = ORDER >> 1n;

function addressOf(publicKey: Uint8Array): Hex {
  const uncompressed = secp256k1.Point.fromBytes(publicKey).toBytes(false);
  return hexOf(keccak(uncompressed.subarray(1)).subarray(12));
}

/** One key pair. The key never shows in an error, and `forget` overwrites it. */
export class Account {
  readonly address: Hex;
  readonly #key: Bytes;
  #forgotten = false;

  /** `key` is the private scalar, 32 bytes big-endian, in 1 … n − 1; else `InvalidInput`. */
  constructor(key: Uint8Array) {
    if (key.length !== 32 || !secp256k1.utils.isValidSecretKey(key)) {
      throw new InvalidInput("A private key is 32 bytes, above zero and below the order of secp256k1.");
    }
    this.#key = new Uint8Array(key);
    this.address = addressOf(secp256k1.getPublicKey(this.#key));
  }

  /** Sign a 32-byte digest, deterministically (RFC 6979). */
  signDigest(digest: Uint8Array): Hex {
    if (digest.length !== 32) throw new InvalidInput(`A digest is 32 bytes, not ${digest.length}.`);
    if (this.#forgotten) throw new InvalidInput("The vault is locked.", "Unlock it and sign again.");
    const signed = secp256k1.sign(digest, this.#key, { prehash: false, lowS: true, format: "recovered" });
    return hexOf(concat(signed.subarray(1), Uint8Array.of(27 + (signed[0] ?? 0))));
  }

  /** Overwrite the key: nothing more is signed. */
  forget(): void {
    this.#key.fill(0);
    this.#forgotten = true;
  }
}

/** The address whose key made `signature` over the 32-byte `digest`; `InvalidInput` for what is no such signature. */
export function recover(digest: Uint8Array, signature: Hex): Hex {
  const bytes = fromHex(signature);
  const v = bytes[64];
  if (digest.length !== 32 || bytes.length !== 65 || (v !== 27 && v !== 28)) {
    throw new InvalidInput("Expected a 32-byte digest and a 65-byte signature that ends in v = 27 or 28.");
  }
  if (BigInt(hexOf(bytes.subarray(32, 64))) > HALF_ORDER) {
    throw new InvalidInput("The signature has a high s (EIP-2); its low form is the only one accepted.");
  }
  try {
    const recovered = concat(Uint8Array.of(v - 27), bytes.subarray(0, 64));
    return addressOf(secp256k1.recoverPublicKey(recovered, digest, { prehash: false }));
  } catch {
    throw new InvalidInput("These bytes are not a signature of any key over this digest.");
  }
}

/** A wallet's 65 bytes in the one form that is accepted: v 27 or 28, low s. Others come back as they are. */
export function normalised(signature: Hex): Hex {
  const bytes = fromHex(signature);
  if (bytes.length !== 65) return signature;
  let v = bytes[64] ?? 0;
  if (v < 2) v += 27;
  const s = BigInt(hexOf(bytes.subarray(32, 64)));
  if (s <= HALF_ORDER || s >= ORDER || (v !== 27 && v !== 28)) {
    return hexOf(concat(bytes.subarray(0, 64), Uint8Array.of(v)));
  }
  const low = (ORDER - s).toString(16).padStart(64, "0");
  return hexOf(concat(bytes.subarray(0, 32), fromHex(`0x${low}`), Uint8Array.of(55 - v)));
}

/** The digest that `personal_sign` signs for a message (EIP-191). */
export function personalDigest(message: string): Bytes {
  const data = utf8(message);
  return keccak("\x19Ethereum Signed Message:\n", String(data.length), data);
}

/** With EIP-55's checksum: a letter is a capital where the hash's digit in its place is 8 or more. */
export function writeAddress(address: Hex): Hex {
  const digits = address.slice(2).toLowerCase();
  const marks = hexOf(keccak(digits)).slice(2);
  const cased = Array.from(digits, (digit, at) => (Number.parseInt(marks.charAt(at), 16) >= 8 ? digit.toUpperCase() : digit));
  return `0x${cased.join("")}`;
}

/** The address that a person typed, in lower case; `InvalidInput` if it is none, is nobody's, or is mistyped. */
export function readAddress(typed: string): Hex {
  if (!/^0[xX][0-9a-fA-F]{40}$/.test(typed)) {
    throw new InvalidInput(
      `'${typed.slice(0, 60)}' is not an address.`,
      "An address is 0x and 40 hex digits; copy it from the wallet.",
    );
  }
  const digits = typed.slice(2);
  const address: Hex = `0x${digits.toLowerCase()}`;
  if (address === NOBODY) throw new InvalidInput("The address 0x0 is nobody's.", "Copy the address from the wallet.");
  // All lower or all upper case carries no checksum and is taken as it is.
  const isCased = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (isCased && digits !== writeAddress(address).slice(2)) {
    throw new InvalidInput(
      `The address ${typed} is mistyped: its letters' case does not fit its digits.`,
      "Copy it from the wallet again, rather than typing it.",
    );
  }
  return address;
}
