/** The payload's format, one segment at a time: Tink AES-GCM-HKDF streaming, `AES256_GCM_HKDF_1MB` (docs/format/10). */
import { type Bytes, EMPTY, bigEndian, concat, equal, random, utf8 } from "./bytes.ts";
import { Corrupted, InvalidInput } from "./errors.ts";
import { hkdf } from "./rootkey.ts";

export const SEGMENT = 1 << 20; // ciphertext bytes of every segment but the last
export const TAG = 16;
export const HEADER = 40;
export const FIRST = SEGMENT - HEADER - TAG; // plaintext bytes of segment 0
export const REST = SEGMENT - TAG; // plaintext bytes of each later one
const MAX_SEGMENTS = 2 ** 32; // the nonce counts in 32 bits

const HINT = "Fetch the object again from another copy; nothing unverified was released.";

/** What ties a payload to its place: it enters the segment key's derivation. */
export function associatedData(vaultId: Bytes, objectId: Bytes): Bytes {
  return place("allod/object/v1\0", vaultId, objectId);
}

/** 32 bytes that fix the data key without revealing it; kept in the manifest. */
export async function dekCommitment(dek: Bytes, vaultId: Bytes, objectId: Bytes): Promise<Bytes> {
  checkDek(dek);
  return await hkdf(dek, EMPTY, place("allod/dek-commit/v1\0", vaultId, objectId));
}

/** Segments of a ciphertext of `size` bytes; `Corrupted` if no plaintext encrypts to that size. */
export function segmentCount(size: number): number {
  const count = Math.ceil(size / SEGMENT);
  const least = count === 1 ? HEADER + TAG : TAG + 1;
  if (size <= 0 || count > MAX_SEGMENTS || size - (count - 1) * SEGMENT < least) {
    throw new Corrupted(`A sealed object never has ${size} bytes: its size is wrong.`, HINT);
  }
  return count;
}

/** Bytes of ciphertext for `plaintext` bytes: 40, and 16 per segment, more. */
export function ciphertextSize(plaintext: number): number {
  const count = Math.max(1, Math.ceil((plaintext + HEADER) / REST));
  if (count > MAX_SEGMENTS) throw new InvalidInput("The file is too large for one object (4 PiB).", "Split it.");
  return plaintext + HEADER + TAG * count;
}

/** Bytes of plaintext in a ciphertext of `size` bytes; `Corrupted` if there is no such ciphertext. */
export function plaintextSize(size: number): number {
  return size - HEADER - TAG * segmentCount(size);
}

/** Where segment `index` begins in the plaintext. */
export function plaintextStart(index: number): number {
  return index === 0 ? 0 : FIRST + (index - 1) * REST;
}

/** A new header: salt and prefix random, as every encryption needs them. */
export function newHeader(): Bytes {
  return concat(new Uint8Array([HEADER]), random(HEADER - 1));
}

/** The key of one encryption: a header, its derived AES key, and the nonces below it. */
export class SegmentKey {
  private constructor(
    readonly header: Bytes,
    private readonly key: CryptoKey,
  ) {}

  static async derive(dek: Bytes, header: Bytes, associated: Bytes): Promise<SegmentKey> {
    if (header.length !== HEADER || header[0] !== HEADER) {
      throw new Corrupted("The object does not begin with a payload header.", HINT);
    }
    checkDek(dek);
    const raw = await hkdf(dek, header.slice(1, 33), associated);
    return new SegmentKey(header, await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]));
  }

  /** Segment `index`, its header included in segment 0. The caller seals one content for an index, ever. */
  async seal(index: number, last: boolean, plain: Bytes): Promise<Bytes> {
    const sealed = new Uint8Array(await crypto.subtle.encrypt(this.parameters(index, last), this.key, plain));
    return index === 0 ? concat(this.header, sealed) : sealed;
  }

  /** The plaintext of segment `index`, or `Corrupted`. */
  async open(index: number, last: boolean, segment: Bytes): Promise<Bytes> {
    const body = index === 0 ? segment.subarray(HEADER) : segment;
    try {
      return new Uint8Array(await crypto.subtle.decrypt(this.parameters(index, last), this.key, body));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "OperationError") throw error;
      throw new Corrupted(`Segment ${index} of the object does not authenticate.`, HINT);
    }
  }

  private parameters(index: number, last: boolean): AesGcmParams {
    return {
      name: "AES-GCM",
      iv: concat(this.header.subarray(33), bigEndian(index, 4), new Uint8Array([last ? 1 : 0])),
    };
  }
}

/**
 * Opens the segments of one object, in any order once segment 0 was seen. `size` (ciphertext bytes) and `commit` come
 * from the object's manifest; a key that is not the committed one, or a size that cannot be, is `Corrupted` before a
 * byte is looked at.
 */
export class Opener {
  #key: SegmentKey | null = null;

  private constructor(
    private readonly dek: Bytes,
    private readonly associated: Bytes,
    readonly size: number,
    readonly segments: number,
  ) {}

  static async create(dek: Bytes, vaultId: Bytes, objectId: Bytes, size: number, commit: Bytes): Promise<Opener> {
    const segments = segmentCount(size);
    if (!equal(await dekCommitment(dek, vaultId, objectId), commit)) {
      throw new Corrupted(
        "The key does not belong to this object: it misses the commitment in the manifest.",
        "Get the object's key again; with this one nothing is opened.",
      );
    }
    return new Opener(dek, associatedData(vaultId, objectId), size, segments);
  }

  get plaintextSize(): number {
    return plaintextSize(this.size);
  }

  /** Takes the header from segment 0 (whole, or its first 40 bytes). Opening segment 0 does this by itself. */
  async begin(segment: Bytes): Promise<SegmentKey> {
    const header = segment.slice(0, HEADER);
    this.#key ??= await SegmentKey.derive(this.dek, header, this.associated);
    if (!equal(this.#key.header, header)) throw new Corrupted("Two different beginnings for one object.", HINT);
    return this.#key;
  }

  /** The authenticated plaintext of segment `index` from exactly its ciphertext bytes. */
  async openSegment(index: number, data: Bytes): Promise<Bytes> {
    const wanted = Math.min(SEGMENT, this.size - index * SEGMENT);
    if (!(index >= 0 && index < this.segments) || data.length !== wanted) {
      throw new Corrupted(`Segment ${index} has ${data.length} bytes, not ${wanted}.`, HINT);
    }
    const key = index === 0 ? await this.begin(data) : this.#key;
    if (key === null) throw new InvalidInput("Open segment 0 first, or give its header to begin(): it has the salt.");
    return await key.open(index, index === this.segments - 1, data);
  }
}

function checkDek(dek: Bytes): void {
  if (dek.length !== 32) throw new InvalidInput("A data key has 32 bytes.");
}

function place(label: string, vaultId: Bytes, objectId: Bytes): Bytes {
  if (vaultId.length !== 32 || objectId.length !== 32) {
    throw new InvalidInput("A vault id and an object id have 32 bytes each.");
  }
  return concat(utf8(label), vaultId, objectId);
}
