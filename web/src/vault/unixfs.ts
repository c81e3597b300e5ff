/** UnixFS files by the profile `unixfs-v1-2025` (IPIP-499): 1 MiB raw leaves, balanced, 1024 links a node. */
import { type Bytes, EMPTY, concat } from "./bytes.ts";
import { Cid, DAG_PB, MAX_BLOCK, RAW } from "./cid.ts";
import { AllodError, Corrupted, InvalidInput } from "./errors.ts";
import { decodeVarint, encodeVarint } from "./varint.ts";

export const CHUNK = 1 << 20;
const WIDTH = 1024;
const MAX_DEPTH = 8;
const FILE = 2; // UnixFS Data.Type of a file

const HINT = "Fetch the file's blocks again from another copy.";

interface Branch {
  readonly cid: Cid;
  readonly size: number; // file bytes below
  readonly weight: number; // bytes of all blocks below and its own: dag-pb's Tsize
}

/** Gives a block that a CID names, checked against it. */
export type Getter = (cid: Cid) => Promise<Bytes>;

/** Builds one file's tree over leaves that the caller stores; memory grows with its depth. `sink` gets inner nodes. */
export class FileBuilder {
  private readonly levels: Branch[][] = [[]];
  private size = 0;

  constructor(private readonly sink: (cid: Cid, block: Bytes) => void) {}

  /** The next leaf, raw, of `size` bytes; all but the last hold exactly `CHUNK`. */
  add(leaf: Cid, size: number): void {
    if (leaf.codec !== RAW || !(size > 0 && size <= CHUNK) || this.size % CHUNK !== 0) {
      throw new InvalidInput("Leaves are raw blocks of 1 MiB each; only the last may be shorter, and none is empty.");
    }
    this.size += size;
    this.push(0, { cid: leaf, size, weight: size });
  }

  /** The root and the file's size in bytes. The empty file is one empty raw leaf, handed to the sink. */
  finish(): { root: Cid; size: number } {
    if (this.size === 0) {
      const empty = Cid.of(RAW, EMPTY);
      this.sink(empty, EMPTY);
      return { root: empty, size: 0 };
    }
    let level = 0;
    // A lone child at the end is wrapped up to the height of the tree: balanced, not "packed".
    while (level < this.levels.length - 1 || this.at(level).length > 1) this.fold(level++);
    return { root: (this.at(level)[0] as Branch).cid, size: this.size };
  }

  private at(level: number): Branch[] {
    return this.levels[level] ?? (this.levels[level] = []);
  }

  private push(level: number, branch: Branch): void {
    if (this.at(level).length === WIDTH) this.fold(level);
    this.at(level).push(branch);
  }

  private fold(level: number): void {
    const branches = this.at(level);
    if (branches.length === 0) return;
    const block = encodeNode(branches);
    const cid = Cid.of(DAG_PB, block);
    this.sink(cid, block);
    this.levels[level] = [];
    const size = branches.reduce((sum, branch) => sum + branch.size, 0);
    const weight = branches.reduce((sum, branch) => sum + branch.weight, block.length);
    this.push(level + 1, { cid, size, weight });
  }
}

/** One leaf of a file: its place and its size there. */
export interface Leaf {
  readonly cid: Cid;
  readonly offset: number;
  readonly size: number;
}

/** The file's leaves in order; `inner` sees the nodes above them. `Corrupted` where the tree contradicts itself. */
export async function* leaves(
  root: Cid,
  get: Getter,
  expectedSize: number,
  inner?: (cid: Cid) => void,
): AsyncGenerator<Leaf> {
  const stack = [{ cid: root, offset: 0, size: expectedSize, depth: 0 }];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { cid, offset, size, depth } = top;
    if (cid.codec === RAW) {
      if (size > MAX_BLOCK) throw new Corrupted(`The file under ${root} claims a leaf of ${size} bytes.`, HINT);
      yield { cid, offset, size };
      continue;
    }
    if (depth === MAX_DEPTH) {
      throw new Corrupted(`The file under ${root} is nested deeper than ${MAX_DEPTH} levels.`, HINT);
    }
    const children = await node(cid, get);
    const total = children.reduce((sum, child) => sum + child.size, 0);
    if (total !== size) throw new Corrupted(`Node ${cid} holds ${total} bytes where ${size} were promised.`, HINT);
    inner?.(cid);
    let at = offset + size;
    for (const child of children.reverse()) {
      at -= child.size;
      stack.push({ cid: child.cid, offset: at, size: child.size, depth: depth + 1 });
    }
  }
}

interface Child {
  readonly cid: Cid;
  readonly size: number;
}

async function node(cid: Cid, get: Getter): Promise<Child[]> {
  if (cid.codec !== DAG_PB) {
    throw new Corrupted(`Block ${cid} is no part of a file: its codec is neither raw nor dag-pb.`, HINT);
  }
  const block = await get(cid);
  try {
    return decodeNode(block);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw new Corrupted(`Block ${cid} is not an inner node of a file: ${error.message}`, HINT);
  }
}

function field(number: number, wire: number): Bytes {
  return encodeVarint((number << 3) | wire);
}

function delimited(number: number, data: Bytes): Bytes {
  return concat(field(number, 2), encodeVarint(data.length), data);
}

function encodeNode(branches: readonly Branch[]): Bytes {
  const links = branches.map(({ cid, weight }) =>
    delimited(2, concat(delimited(1, cid.bytes), delimited(2, EMPTY), field(3, 0), encodeVarint(weight))),
  );
  const total = branches.reduce((sum, branch) => sum + branch.size, 0);
  const sizes = branches.flatMap(({ size }) => [field(4, 0), encodeVarint(size)]);
  const data = concat(field(1, 0), encodeVarint(FILE), field(3, 0), encodeVarint(total), ...sizes);
  return concat(...links, delimited(1, data));
}

/** Reads an inner node: links before data or data before links (IPIP-550), nothing unknown, sizes consistent. */
export function decodeNode(block: Uint8Array): Child[] {
  const links: Cid[] = [];
  let data: Uint8Array | null = null;
  let runs = 0;
  let previous = 0;
  for (const [number, value] of fields(block)) {
    if (number === 2 && value instanceof Uint8Array) {
      if (previous !== 2) runs++;
      links.push(decodeLink(value));
    } else if (number === 1 && value instanceof Uint8Array && data === null) data = value;
    else throw new InvalidInput("a field that dag-pb does not have, or has once only.");
    previous = number;
  }
  if (data === null || runs !== 1 || links.length > WIDTH) {
    throw new InvalidInput(`an inner node has data and between 1 and ${WIDTH} links, side by side.`);
  }
  const sizes = decodeData(data);
  if (sizes.length !== links.length) throw new InvalidInput("a size for every link is needed.");
  return links.map((cid, index) => ({ cid, size: sizes[index] as number }));
}

function decodeLink(data: Uint8Array): Cid {
  let cid: Cid | null = null;
  let previous = 0;
  for (const [number, value] of fields(data)) {
    if (number <= previous) throw new InvalidInput("a link's fields are out of order.");
    previous = number;
    if (number === 1 && value instanceof Uint8Array) cid = Cid.parse(value);
    else if (
      !(number === 2 && value instanceof Uint8Array && value.length === 0) &&
      !(number === 3 && typeof value === "number")
    ) {
      // Tsize (3) decides nothing here: sizes come from the UnixFS data, which is summed from the root.
      throw new InvalidInput("a link of a file has a CID, an empty name and a size.");
    }
  }
  if (cid === null || (cid.codec !== RAW && cid.codec !== DAG_PB)) {
    throw new InvalidInput("a link of a file names a raw or dag-pb block.");
  }
  return cid;
}

function decodeData(data: Uint8Array): number[] {
  let kind: number | null = null;
  let total: number | null = null;
  const sizes: number[] = [];
  for (const [number, value] of fields(data)) {
    if (typeof value !== "number") throw new InvalidInput("inner nodes carry sizes only; content lies in raw leaves.");
    if (number === 1 && kind === null) kind = value;
    else if (number === 3 && total === null) total = value;
    else if (number === 4) sizes.push(value);
    else throw new InvalidInput("UnixFS data with a field that a plain file does not have.");
  }
  if (kind !== FILE || total !== sizes.reduce((sum, size) => sum + size, 0) || sizes.includes(0)) {
    throw new InvalidInput("UnixFS data is not a file whose sizes add up.");
  }
  return sizes;
}

function* fields(data: Uint8Array): Generator<[number, number | Uint8Array]> {
  let offset = 0;
  while (offset < data.length) {
    const [key, behind] = decodeVarint(data, offset);
    const [value, start] = decodeVarint(data, behind);
    const number = Math.floor(key / 8);
    if (key % 8 === 0) {
      yield [number, value];
      offset = start;
    } else if (key % 8 === 2 && value <= data.length - start) {
      yield [number, data.subarray(start, start + value)];
      offset = start + value;
    } else throw new InvalidInput("a protobuf field that is cut short or of another kind.");
  }
}

/** `data` if it is what `cid` names, by hash and size; `Corrupted` otherwise. */
export async function verified(cid: Cid, data: Bytes): Promise<Bytes> {
  if (data.length > MAX_BLOCK || !(await Cid.ofLarge(cid.codec, data)).equals(cid)) {
    throw new Corrupted(`Block ${cid} does not have the bytes its CID promises.`, HINT);
  }
  return data;
}

/** Whether a block is missing or damaged, as opposed to a side that does not answer. */
export function isLost(error: unknown): error is AllodError {
  return error instanceof AllodError && (error.slug === "not-found" || error.slug === "corrupted");
}
