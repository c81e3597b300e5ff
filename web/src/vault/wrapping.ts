/** Wraps: small secrets sealed under a key that is used for one label, one vault and one thing. */
import { type Bytes, bigEndian, concat, random } from "./bytes.ts";
import { type CborMap, type Value, decodeCbor, encodeCbor, isMap } from "./cbor.ts";
import { Corrupted } from "./errors.ts";
import type { RootKey } from "./rootkey.ts";

const NONCE = 12;
const OVERHEAD = NONCE + 16;
const PADDING = 256;

/** AES-256-GCM: nonce[12] ‖ ciphertext ‖ tag, under a random nonce. */
export async function sealWith(key: Bytes, plain: Bytes, additionalData?: Bytes): Promise<Bytes> {
  const nonce = random(NONCE);
  return concat(nonce, await gcmEncrypt(key, nonce, plain, additionalData));
}

/** What `sealWith` sealed; null if key or bytes are others. */
export async function openWith(key: Bytes, sealed: Bytes, additionalData?: Bytes): Promise<Bytes | null> {
  if (sealed.length < OVERHEAD) return null;
  return await gcmDecrypt(key, sealed.slice(0, NONCE), sealed.slice(NONCE), additionalData);
}

/** AES-256-GCM's ciphertext and tag. A nonce never meets a key twice: its caller proves it. */
export async function gcmEncrypt(key: Bytes, iv: Bytes, plain: Bytes, additionalData?: Bytes): Promise<Bytes> {
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const parameters = additionalData === undefined ? { name: "AES-GCM", iv } : { name: "AES-GCM", iv, additionalData };
  return new Uint8Array(await crypto.subtle.encrypt(parameters, aes, plain));
}

/** The plaintext, or null if the tag is wrong. */
export async function gcmDecrypt(key: Bytes, iv: Bytes, sealed: Bytes, additionalData?: Bytes): Promise<Bytes | null> {
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const parameters = additionalData === undefined ? { name: "AES-GCM", iv } : { name: "AES-GCM", iv, additionalData };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(parameters, aes, sealed));
  } catch (error) {
    if (error instanceof DOMException && error.name === "OperationError") return null;
    throw error;
  }
}

/** Seals `plain` for `thing` (an object's or a record's 32-byte id) in this vault; 28 bytes longer. */
export async function wrap(root: RootKey, label: string, vaultId: Bytes, thing: Bytes, plain: Bytes): Promise<Bytes> {
  return await sealWith(await root.derive(label, vaultId, thing), plain);
}

/** Opens a wrap; `Corrupted` if it was made by another root key or for another label, vault or thing. */
export async function unwrap(
  root: RootKey,
  label: string,
  vaultId: Bytes,
  thing: Bytes,
  sealed: Bytes,
): Promise<Bytes> {
  const plain = await openWith(await root.derive(label, vaultId, thing), sealed);
  if (plain === null) {
    throw new Corrupted(
      "A wrap does not open with this vault's key.",
      "It was damaged or belongs elsewhere; fetch the manifest again from another copy.",
    );
  }
  return plain;
}

/** Wraps a map as dag-cbor, padded to whole 256 bytes so that its length tells little about a name in it. */
export async function sealDocument(
  root: RootKey,
  label: string,
  vaultId: Bytes,
  thing: Bytes,
  value: Value,
): Promise<Bytes> {
  const data = encodeCbor(value);
  const padded = new Uint8Array(Math.ceil((data.length + 4) / PADDING) * PADDING);
  padded.set(bigEndian(data.length, 4));
  padded.set(data, 4);
  return await wrap(root, label, vaultId, thing, padded);
}

/** Opens what `sealDocument` made; `Corrupted` if it belongs elsewhere or is none. */
export async function openDocument(
  root: RootKey,
  label: string,
  vaultId: Bytes,
  thing: Bytes,
  sealed: Bytes,
): Promise<CborMap> {
  const padded = await unwrap(root, label, vaultId, thing, sealed);
  const length = padded.length < 4 ? 0 : new DataView(padded.buffer).getUint32(0);
  const value = decodeCbor(padded.subarray(4, 4 + length));
  const rest = padded.subarray(4 + length);
  if (
    padded.length % PADDING ||
    4 + length > padded.length ||
    rest.length >= PADDING ||
    rest.some((byte) => byte !== 0)
  ) {
    throw new Corrupted("A sealed description has a wrong form.", "Fetch it again from another copy.");
  }
  if (!isMap(value)) throw new Corrupted("A sealed description is no map.", "Fetch it again from another copy.");
  return value;
}
