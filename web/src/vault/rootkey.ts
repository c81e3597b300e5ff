/** The owner's keys: one random root key, all that is below it, and the 24 words that are it (docs/format/30). */
import { type Bytes, EMPTY, bigEndian, concat, equal, random, utf8 } from "./bytes.ts";
import { InvalidInput } from "./errors.ts";

const KEY = 32;
const WORDS = 24;
const ZERO = new Uint8Array(1);
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
// PKCS #8 around an Ed25519 seed (RFC 8410).
const PKCS8 = new Uint8Array([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]);

export const DEK_LABEL = "allod/wrap/v1";
export const META_LABEL = "allod/meta/v1";
export const RECORD_LABEL = "allod/record/v1";
/** Where this browser notes uploads under way; never in a block. */
export const JOURNAL_LABEL = "allod/journal/v1";
const SIGN_LABEL = "allod/manifest-sign/v1";
const EVM_LABEL = "allod/evm/v1";

/** HKDF-SHA256 (RFC 5869) with 32 bytes of output. */
export async function hkdf(ikm: Bytes, salt: Bytes, info: Bytes): Promise<Bytes> {
  return await expand(await importHkdf(ikm), salt, info);
}

async function importHkdf(ikm: Bytes): Promise<CryptoKey> {
  return await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits", "deriveKey"]);
}

async function expand(base: CryptoKey, salt: Bytes, info: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, base, 256));
}

/** The key that signs heads and share tables. */
export interface SigningKey {
  readonly publicKey: Bytes;
  sign(data: Bytes): Promise<Bytes>;
}

/** A vault's root key. Whoever holds it can open everything in the vault and sign for it. */
export class RootKey {
  readonly #key: CryptoKey;
  readonly #raw: Bytes | null;
  #signing: Promise<SigningKey> | null = null;

  private constructor(key: CryptoKey, raw: Bytes | null) {
    this.#key = key;
    this.#raw = raw;
  }

  static async fromBytes(raw: Bytes): Promise<RootKey> {
    if (raw.length !== KEY) throw new InvalidInput(`A root key has ${KEY} bytes.`);
    return new RootKey(await importHkdf(raw), raw.slice());
  }

  static async generate(): Promise<RootKey> {
    return await RootKey.fromBytes(random(KEY));
  }

  /** The root key whose `handle` was sent to a Worker: it derives, but shows neither bytes nor words. */
  static fromHandle(handle: CryptoKey): RootKey {
    return new RootKey(handle, null);
  }

  /** The root key that 24 BIP-39 words (English list) encode; case and spacing do not matter. */
  static async fromWords(words: string): Promise<RootKey> {
    const given = words.normalize("NFKD").toLowerCase().split(/\s+/u).filter(Boolean);
    if (given.length !== WORDS) {
      throw new InvalidInput(
        `The recovery words are ${WORDS} words; ${given.length} were given.`,
        "Type all of them, in order.",
      );
    }
    const { mnemonicToEntropy, wordlist } = await import("./words.ts");
    const known = new Set(wordlist);
    given.forEach((word, position) => {
      // The word itself stays out of the message: messages end up in logs.
      if (!known.has(word)) {
        throw new InvalidInput(
          `Word ${position + 1} of ${WORDS} is not in the word list.`,
          "Compare its spelling with your copy.",
        );
      }
    });
    let entropy: Uint8Array;
    try {
      entropy = mnemonicToEntropy(given.join(" "), wordlist);
    } catch {
      throw new InvalidInput(
        "The recovery words do not fit together: their checksum is wrong.",
        "One word is another than the one written down, or two changed places.",
      );
    }
    return await RootKey.fromBytes(new Uint8Array(entropy));
  }

  /** The 24 words. Show them once, to their owner, and write them nowhere. */
  async words(): Promise<string[]> {
    const { entropyToMnemonic, wordlist } = await import("./words.ts");
    return entropyToMnemonic(this.reveal(), wordlist).split(" ");
  }

  /** The 32 bytes, for a slot of a key file. */
  reveal(): Bytes {
    if (this.#raw === null) throw new InvalidInput("This copy of the root key derives only.");
    return this.#raw.slice();
  }

  /** What a Worker gets: it cannot be turned back into bytes. */
  get handle(): CryptoKey {
    return this.#key;
  }

  /** 32 bytes for one purpose; `context` parts have fixed lengths under this label. */
  async derive(label: string, ...context: readonly Uint8Array[]): Promise<Bytes> {
    return await expand(this.#key, EMPTY, concat(utf8(label), ZERO, ...context));
  }

  /** The key that signs heads and share tables. It hangs on no vault id, so that words alone find a head. */
  async signingKey(): Promise<SigningKey> {
    this.#signing ??= this.derive(SIGN_LABEL).then(signingKey);
    return await this.#signing;
  }

  /** The public half of `signingKey`, 32 bytes. */
  async manifestPk(): Promise<Bytes> {
    return (await this.signingKey()).publicKey;
  }

  /** A secp256k1 private key for owners who bring no wallet: the first derivation in range, by u32be counter. */
  async evmKey(): Promise<Bytes> {
    for (let counter = 0; counter < 256; counter++) {
      const candidate = await this.derive(EVM_LABEL, bigEndian(counter, 4));
      const number = candidate.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
      if (number > 0n && number < ORDER) return candidate;
    }
    throw new Error("256 derivations out of range: probability 2^-32000");
  }

  async equals(other: RootKey): Promise<boolean> {
    return equal(await this.derive(SIGN_LABEL), await other.derive(SIGN_LABEL));
  }
}

async function signingKey(seed: Bytes): Promise<SigningKey> {
  const pkcs8 = concat(PKCS8, seed);
  // Only an exported key tells its public half; the one that signs is imported again and stays closed.
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", open);
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  return {
    publicKey: fromBase64Url(x ?? ""),
    sign: async (data) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, data)),
  };
}

function fromBase64Url(text: string): Bytes {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

/** Whether `publicKey` signed `data`. */
export async function isSigned(publicKey: Bytes, sig: Bytes, data: Bytes): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, sig, data);
  } catch (error) {
    if (error instanceof DOMException && error.name === "DataError") return false; // no point of the curve
    throw error;
  }
}
