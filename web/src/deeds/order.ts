/**
 * The order: a job's preimages, from which its lane word, its hashes and its id follow exactly as in JobEscrow.
 *
 * Nothing here reads a chain: who relies on an order compares its lane word with the escrow's.
 */

import { concat, bigEndian, type Bytes } from "../vault/bytes.ts";
import { decodeCbor, encodeCbor } from "../vault/cbor.ts";
import { InvalidInput } from "../vault/errors.ts";
import { committeeHash, HPKE_PUBLIC_KEY, MAX_KEEPERS } from "./committee.ts";
import {
  bigInteger, bytesOf, constant, exactList, exactMap, hexOf, integer, NOBODY, numberOf, octets, UINT40_MAX, UINT64_MAX, wordOf,
  type Hex,
} from "./fields.ts";
import { keccak } from "./hashes.ts";
import { sumOf } from "./tree.ts";

const MAX_COUNTED = 64;
const MAX_RUN = 30 * 86400; // seconds from opening to `start`, a constant of the escrow

/** `opened` 0 means: not opened yet. `root` is the opening tree's root word. */
export interface Order {
  readonly chain: bigint;
  readonly escrow: Hex;
  readonly payer: Hex;
  readonly lane: bigint;
  readonly opened: number;
  readonly start: number;
  readonly runner: Hex;
  readonly recipe: Hex;
  readonly jobPk: Hex;
  readonly fee: bigint;
  readonly q: number;
  readonly keepers: readonly Hex[];
  readonly root: bigint;
  readonly counted: readonly Hex[];
}

const KEYS = [
  "v", "kind", "chain", "escrow", "payer", "lane", "opened", "start", "runner", "recipe", "job_pk", "fee", "q", "keepers",
  "root", "counted",
];

/** An order from its dag-cbor form, else `InvalidInput`. */
export function decodeOrder(data: Uint8Array): Order {
  const fields = exactMap(decodeCbor(data, 16 << 10), KEYS, "The order");
  constant(fields.v, 1, "The order's version");
  constant(fields.kind, "order", "The order's kind");
  const account = (name: string) => {
    const found = octets(fields[name], `The order's ${name}`, 20);
    if (found === NOBODY) throw new InvalidInput(`An order names its ${name}.`);
    return found;
  };
  const order: Order = {
    chain: bigInteger(fields.chain, "The order's chain id", UINT64_MAX),
    escrow: account("escrow"),
    payer: account("payer"),
    lane: bigInteger(fields.lane, "The order's lane", UINT64_MAX),
    opened: integer(fields.opened, "The order's opened", UINT40_MAX),
    start: integer(fields.start, "The order's start", UINT40_MAX, 1),
    runner: account("runner"),
    recipe: octets(fields.recipe, "The order's recipe hash", 32),
    jobPk: octets(fields.job_pk, "The order's job key", HPKE_PUBLIC_KEY),
    fee: bigInteger(fields.fee, "The order's fee", UINT64_MAX),
    q: integer(fields.q, "The order's q", MAX_KEEPERS, 1),
    keepers: exactList(fields.keepers, "The order's keepers", MAX_KEEPERS, 1).map((k) => octets(k, "A keeper's address", 20)),
    root: numberOf(octets(fields.root, "The order's root", 32)),
    counted: exactList(fields.counted, "The order's counted list", MAX_COUNTED).map((id) => octets(id, "A counted consent", 32)),
  };
  if (order.chain === 0n) throw new InvalidInput("An order names its chain.");
  if (order.keepers.length < order.q) throw new InvalidInput("An order's committee is smaller than its quorum.");
  if (new Set(order.counted).size !== order.counted.length) throw new InvalidInput("A job counts a consent twice.");
  if (order.opened > 0 && !(order.opened < order.start && order.start <= order.opened + MAX_RUN)) {
    throw new InvalidInput("A job's start lies within 30 days after its opening.");
  }
  return order;
}

/** Its dag-cbor form. */
export function encodeOrder(order: Order): Bytes {
  return encodeCbor({
    v: 1,
    kind: "order",
    chain: order.chain,
    escrow: bytesOf(order.escrow),
    payer: bytesOf(order.payer),
    lane: order.lane,
    opened: order.opened,
    start: order.start,
    runner: bytesOf(order.runner),
    recipe: bytesOf(order.recipe),
    job_pk: bytesOf(order.jobPk),
    fee: order.fee,
    q: order.q,
    keepers: order.keepers.map(bytesOf),
    root: wordOf(order.root),
    counted: order.counted.map(bytesOf),
  });
}

function addressWord(address: Hex): Bytes {
  return wordOf(numberOf(address));
}

/** What follows from an order; all are 32 bytes. */
export function hashesOf(order: Order): { brief: Bytes; committee: Bytes; spec: Bytes; counted: Bytes; order: Bytes } {
  const brief = keccak(bytesOf(order.recipe), bytesOf(order.jobPk), bigEndian(order.fee, 8));
  const committee = committeeHash(order.q, order.keepers);
  const spec = keccak(brief, bytesOf(committee));
  const ids = order.counted.map(bytesOf);
  const counted = ids.length === 0 ? wordOf(0) : keccak(wordOf(32), wordOf(ids.length), ...ids);
  return { brief, committee: bytesOf(committee), spec, counted, order: keccak(addressWord(order.runner), spec, counted) };
}

/** opened << 40 | start, for the start that a confirmation or settlement set, else the order's. */
export function timesOf(order: Order, start = order.start): bigint {
  if (order.opened === 0) throw new InvalidInput("This job is not open yet.", "Open it first.");
  return (BigInt(order.opened) << 40n) | BigInt(integer(start, "The start", UINT40_MAX, 1));
}

/** The escrow's word for this job with `remaining` UNITs; `start` and `root` where they were replaced. */
export function laneWord(order: Order, remaining = sumOf(order.root), start = order.start, root = order.root): bigint {
  const hash = keccak(wordOf(timesOf(order, start)), wordOf(root), hashesOf(order).order);
  return (numberOf(hexOf(hash)) >> 64n << 64n) | bigInteger(remaining, "The lane's remainder", UINT64_MAX);
}

/** keccak256(abi.encode(chain, escrow, payer, lane, opened, root, order)). */
export function jobIdOf(order: Order): Hex {
  if (order.opened === 0) throw new InvalidInput("This job is not open yet and has no id.", "Open it first.");
  const words = [
    wordOf(order.chain), addressWord(order.escrow), addressWord(order.payer), wordOf(order.lane), wordOf(order.opened),
    wordOf(order.root),
  ];
  return hexOf(keccak(concat(...words), hashesOf(order).order));
}
