/**
 * The Merkle sum tree of a job: who is paid how much, with the total inside every hash.
 *
 * A node is one 256-bit word, hash192 ‖ sum64, exactly as JobEscrow computes it (docs/format/61-job.md).
 */

import type { Bytes } from "../vault/bytes.ts";
import { decodeCbor, encodeCbor } from "../vault/cbor.ts";
import { InvalidInput } from "../vault/errors.ts";
import {
  bigInteger, bytesOf, constant, exactList, exactMap, hexOctets, hexOf, numberOf, octets, UINT256_MAX, UINT64_MAX, wordOf,
  type Hex,
} from "./fields.ts";
import { keccak } from "./hashes.ts";

export const MAX_LEAVES = 100_000;
const MAX_PROOF = 20;
const MAX_BYTES = 8 << 20;
/** The id of the leaf that pays the runner. */
export const FEE: Hex = `0x${"00".repeat(32)}`;
const EMPTY: Bytes = new Uint8Array(32); // where a tree has no leaf

/** One payee: the consent it is paid for (or FEE), the account, and UNITs. */
export interface Leaf {
  readonly consentId: Hex;
  readonly payee: Hex;
  readonly amount: bigint;
}

/** hash192(consent id, payee, amount) ‖ amount64. */
export function leafWord(leaf: Leaf): bigint {
  return numberOf(hexOf(leafNode(leaf)));
}

/** The UNITs that a node carries in its low 64 bits. */
export function sumOf(word: bigint): bigint {
  return word & UINT64_MAX;
}

// Inside of a tree a node is its 32 bytes: a hundred thousand of them are hashed in a moment.

function leafNode({ consentId, payee, amount }: Leaf): Bytes {
  const units = bigInteger(amount, "A leaf's amount", UINT64_MAX);
  const packed = new Uint8Array(96);
  packed.set(bytesOf(hexOctets(consentId, "A leaf's consent id", 32)));
  packed.set(bytesOf(hexOctets(payee, "A leaf's payee", 20)), 44);
  new DataView(packed.buffer).setBigUint64(88, units);
  return node(packed, units);
}

function node(packed: Bytes, sum: bigint): Bytes {
  const out = keccak(packed);
  new DataView(out.buffer, out.byteOffset, 32).setBigUint64(24, sum);
  return out;
}

function sumAt(packed: Bytes, at: number): bigint {
  return new DataView(packed.buffer, packed.byteOffset).getBigUint64(at + 24);
}

/** The node above two; a sum beyond 64 bits is `InvalidInput`. */
function join(left: Bytes, right: Bytes): Bytes {
  const packed = new Uint8Array(64);
  packed.set(left);
  packed.set(right, 32);
  const total = sumAt(packed, 0) + sumAt(packed, 32);
  if (total > UINT64_MAX) throw new InvalidInput("The tree's amounts add up to more than 64 bits hold.");
  return node(packed, total);
}

/** Whether `proof` leads from `leaf` at heap `position` (the root is 1) to `root`; false for whatever is malformed. */
export function verifyLeaf(root: bigint, leaf: Leaf, position: number, proof: readonly bigint[]): boolean {
  if (!Number.isSafeInteger(position) || proof.length > MAX_PROOF) return false;
  if (position < 2 ** proof.length || position >= 2 ** (proof.length + 1)) return false;
  try {
    let found = leafNode(leaf);
    let at = position;
    for (const word of proof) {
      const sibling = wordOf(bigInteger(word, "A word of the proof", UINT256_MAX));
      found = at % 2 === 1 ? join(sibling, found) : join(found, sibling);
      at = Math.floor(at / 2);
    }
    return numberOf(hexOf(found)) === root;
  } catch (error) {
    if (error instanceof InvalidInput) return false;
    throw error;
  }
}

/** A tree over 1 to 100,000 leaves, padded with zero words to a power of two. */
export class SumTree {
  readonly leaves: readonly Leaf[];
  readonly #levels: readonly (readonly Bytes[])[];
  readonly #index = new Map<Hex, number>();

  constructor(leaves: readonly Leaf[]) {
    if (leaves.length < 1 || leaves.length > MAX_LEAVES) {
      throw new InvalidInput(`A job pays between one and ${MAX_LEAVES} leaves.`);
    }
    this.leaves = leaves;
    leaves.forEach(({ consentId }, at) => this.#index.set(consentId, at));
    if (this.#index.size !== leaves.length) throw new InvalidInput("A consent stands in the tree twice.");
    let level = leaves.map(leafNode);
    while (level.length < 2 ** this.depth) level.push(EMPTY);
    const levels = [level];
    while (level.length > 1) {
      const above: Bytes[] = [];
      for (let at = 0; at < level.length; at += 2) above.push(join(level[at] ?? EMPTY, level[at + 1] ?? EMPTY));
      levels.push(above);
      level = above;
    }
    this.#levels = levels;
  }

  /** The length of every proof: ceil(log2(leaves)). */
  get depth(): number {
    return this.leaves.length === 1 ? 0 : 32 - Math.clz32(this.leaves.length - 1);
  }

  /** The root word; its low 64 bits are the total. */
  get root(): bigint {
    return numberOf(hexOf(this.#levels.at(-1)?.[0] ?? EMPTY));
  }

  /** All amounts together, in UNITs. */
  get total(): bigint {
    return sumOf(this.root);
  }

  /** The heap position of leaf `index`; the root's is 1. */
  position(index: number): number {
    this.#leaf(index);
    return 2 ** this.depth + index;
  }

  /** The siblings from leaf `index` up. */
  proof(index: number): bigint[] {
    this.#leaf(index);
    return this.#levels.slice(0, -1).map((level, height) => numberOf(hexOf(level[(index >> height) ^ 1] ?? EMPTY)));
  }

  /** The index of this consent's leaf, or null. */
  find(consentId: Hex): number | null {
    return this.#index.get(consentId) ?? null;
  }

  encode(): Bytes {
    const leaves = this.leaves.map(({ consentId, payee, amount }) => [bytesOf(consentId), bytesOf(payee), amount]);
    return encodeCbor({ v: 1, kind: "tree", leaves });
  }

  /** Parse exactly what `encode` writes, else `InvalidInput`. */
  static decode(data: Uint8Array): SumTree {
    const fields = exactMap(decodeCbor(data, MAX_BYTES), ["v", "kind", "leaves"], "The tree");
    constant(fields.v, 1, "The tree's version");
    constant(fields.kind, "tree", "The tree's kind");
    const rows = exactList(fields.leaves, "The tree's leaves", MAX_LEAVES, 1);
    return new SumTree(
      rows.map((row) => {
        const [id, payee, amount] = exactList(row, "A leaf", 3, 3);
        return {
          consentId: octets(id, "A leaf's consent id", 32),
          payee: octets(payee, "A leaf's payee", 20),
          amount: bigInteger(amount, "A leaf's amount", UINT64_MAX),
        };
      }),
    );
  }

  #leaf(index: number): void {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.leaves.length) {
      throw new InvalidInput("The tree has no such leaf.");
    }
  }
}
