/** Merkle trees of RFC 9162 §2.1: leaf = sha256(0x00 ‖ data), node = sha256(0x01 ‖ left ‖ right). */
import { type Bytes, EMPTY, equal } from "./bytes.ts";
import { hash } from "./cid.ts";
import { InvalidInput } from "./errors.ts";

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

/** All levels of a tree, for many proofs over the same leaves. */
export class Tree {
  readonly size: number;
  private readonly levels: Bytes[][];

  constructor(leaves: readonly Uint8Array[]) {
    let level = leaves.map((leaf) => hash(LEAF, leaf));
    this.size = level.length;
    this.levels = [level];
    while (level.length > 1) {
      const above: Bytes[] = [];
      // An odd last node moves up unchanged.
      for (let i = 0; i < level.length; i += 2) {
        const [left, right] = [level[i] as Bytes, level[i + 1]];
        above.push(right === undefined ? left : hash(NODE, left, right));
      }
      this.levels.push(above);
      level = above;
    }
  }

  get root(): Bytes {
    return this.levels.at(-1)?.[0] ?? hash(EMPTY);
  }

  /** The inclusion path of leaf `index`, from the leaf's sibling upwards. */
  proof(index: number): Bytes[] {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new InvalidInput(`A tree of ${this.size} leaves has none at ${index}.`);
    }
    const path: Bytes[] = [];
    let at = index;
    for (const level of this.levels.slice(0, -1)) {
      const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
      if (sibling !== undefined) path.push(sibling);
      at = Math.floor(at / 2);
    }
    return path;
  }
}

/** Whether `leaf` is number `index` of the `size` leaves under `root` (RFC 9162 §2.1.3.2). */
export function verify(root: Bytes, leaf: Uint8Array, index: number, size: number, proof: readonly Bytes[]): boolean {
  if (!(index >= 0 && index < size)) return false;
  let [position, last, current] = [index, size - 1, hash(LEAF, leaf)];
  for (const sibling of proof) {
    if (last === 0 || sibling.length !== 32) return false;
    if (position % 2 === 1 || position === last) {
      current = hash(NODE, sibling, current);
      while (position % 2 === 0 && position > 0) {
        position = Math.floor(position / 2);
        last = Math.floor(last / 2);
      }
    } else current = hash(NODE, current, sibling);
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(current, root);
}
