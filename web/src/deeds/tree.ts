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
const HIGH = UINT256_MAX ^ UINT64_MAX;

/** One payee: the consent it is paid for (or FEE), the account, and UNITs. */
export interface Leaf {
  readonly consentId: Hex;
  readonly payee: Hex;
  readonly amount: bigint;
}

/** hash192(consent id, payee, amount) ‖ amount64. */
export function leafWord({ consentId, payee, amount }: Leaf): bigint {
  const account = wordOf(numberOf(hexOctets(payee, "A leaf's payee", 20)));
  const id = bytesOf(hexOctets(consentId, "A leaf's consent id", 32));
  const units = bigInteger(amount, "A leaf's amount", UINT64_MAX);
  return (numberOf(hexOf(keccak(id, account, wordOf(units)))) & HIGH) | units;
}

/** The UNITs that a node carries in its low 64 bits. */
export function sumOf(word: bigint): bigint {
  return word & UINT64_MAX;
}

/** The node above two; a sum beyond 64 bits is `InvalidInput`. */
export function join(left: bigint, right: bigint): bigint {
  const total = sumOf(left) + sumOf(right);
  if (total > UINT64_MAX) throw new InvalidInput("The tree's amounts add up to more than 64 bits hold.");
  return (numberOf(hexOf(keccak(wordOf(left), wordOf(right)))) & HIGH) | total;
}

/** Whether `proof` leads from `leaf` at heap `position` (the root is 1) to `root`; false for whatever is malformed. */
export function verifyLeaf(root: bigint, leaf: Leaf, position: number, proof: readonly bigint[]): boolean {
  if (!Number.isSafeInteger(position) || proof.length > MAX_PROOF) return false;
  if (position < 2 ** proof.length || position >= 2 ** (proof.length + 1)) return false;
  try {
    let word = leafWord(leaf);
    let at = position;
    for (const sibling of proof) {
      bigInteger(sibling, "A word of the proof", UINT256_MAX);
      word = at % 2 === 1 ? join(sibling, word) : join(word, sibling);
      at = Math.floor(at / 2);
    }
    return word === root;
  } catch (error) {
    if (error instanceof InvalidInput) return false;
    throw error;
  }
}

/** A tree over 1 to 100,000 leaves, padded with zero words to a power of two. */
export class SumTree {
  readonly leaves: readonly Leaf[];
  readonly #levels: readonly (readonly bigint[])[];
  readonly #index = new Map<Hex, number>();

  constructor(leaves: readonly Leaf[]) {
    if (leaves.length < 1 || leaves.length > MAX_LEAVES) {
      throw new InvalidInput(`A job pays between one and ${MAX_LEAVES} leaves.`);
    }
    this.leaves = leaves;
    leaves.forEach(({ consentId }, at) => this.#index.set(consentId, at));
    if (this.#index.size !== leaves.length) throw new InvalidInput("A consent stands in the tree twice.");
    let level = leaves.map(leafWord);
    while (level.length < 2 ** this.depth) level.push(0n);
    const levels = [level];
    while (level.length > 1) {
      const above: bigint[] = [];
      for (let at = 0; at < level.length; at += 2) above.push(join(level[at] ?? 0n, level[at + 1] ?? 0n));
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
    return this.#levels.at(-1)?.[0] ?? 0n;
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
    return this.#levels.slice(0, -1).map((level, height) => level[(index >> height) ^ 1] ?? 0n);
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
