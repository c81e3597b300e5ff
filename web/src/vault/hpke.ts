/** HPKE (RFC 9180), base mode, one message per encapsulation: X-Wing, HKDF-SHA256, AES-256-GCM (docs/format/40). */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from "hpke";

import { type Bytes, concat } from "./bytes.ts";
import { Corrupted, InvalidInput } from "./errors.ts";

export const PUBLIC_KEY = 1216;
const PRIVATE_KEY = 32;
const ENCAPSULATED = 1120;

/** The suite on WebCrypto's ML-KEM, or where a browser has none, on the noble library (fetched then). */
export async function suite(native = hasMlKem()): Promise<CipherSuite> {
  const kem = (await native) ? KEM_MLKEM768_X25519 : (await import("@panva/hpke-noble")).KEM_MLKEM768_X25519;
  return new CipherSuite(kem, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
}

let mlKem: Promise<boolean> | null = null;

async function hasMlKem(): Promise<boolean> {
  // TypeScript does not know ML-KEM's usages yet.
  const usages = ["encapsulateBits", "decapsulateBits"] as string[] as KeyUsage[];
  mlKem ??= crypto.subtle.generateKey({ name: "ML-KEM-768" }, false, usages).then(
    () => true,
    () => false,
  );
  return await mlKem;
}

/** An envelope that only the holder of `publicKey`'s seed opens, and only under the same `info`. */
export async function hpkeSeal(publicKey: Bytes, plain: Bytes, info: Bytes, using = suite()): Promise<Bytes> {
  if (publicKey.length !== PUBLIC_KEY) throw new InvalidInput(`A public HPKE key has ${PUBLIC_KEY} bytes.`);
  const hpke = await using;
  const key = await hpke.DeserializePublicKey(publicKey).catch(() => {
    throw new InvalidInput("The bytes are no public HPKE key.");
  });
  const { encapsulatedSecret, ciphertext } = await hpke.Seal(key, plain, { info });
  return concat(encapsulatedSecret, ciphertext);
}

/** The content of an envelope; `Corrupted` if it was sealed to another key, for another `info`, or damaged. */
export async function hpkeOpen(privateKey: Bytes, envelope: Bytes, info: Bytes, using = suite()): Promise<Bytes> {
  if (privateKey.length !== PRIVATE_KEY) throw new InvalidInput(`A private HPKE key has ${PRIVATE_KEY} bytes.`);
  const hpke = await using;
  const key = await hpke.DeserializePrivateKey(privateKey, false);
  try {
    const [enc, sealed] = [envelope.slice(0, ENCAPSULATED), envelope.slice(ENCAPSULATED)];
    return new Uint8Array(await hpke.Open(key, enc, sealed, { info }));
  } catch {
    throw new Corrupted(
      "An envelope does not open: it was sealed to another key or for another purpose.",
      "Ask its sender for a new one.",
    );
  }
}
