/**
 * The committee document: the n keepers of one epoch, signed by each of them.
 *
 * Who is *accepted* is the owner's own setting (`hash`, over the addresses); a committee's own answer never decides that.
 */

import { utf8, type Bytes } from "../vault/bytes.ts";
import { Corrupted, InvalidInput } from "../vault/errors.ts";
import { recover } from "./account.ts";
import { decodeJson, encodeJson, type Json } from "./canonical.ts";
import {
  bytesOf, constant, exactList, exactMap, hexOctets, hexOf, integer, NOBODY, numberOf, text, UINT40_MAX, wordOf, type Hex,
} from "./fields.ts";
import { keccak, sha256 } from "./hashes.ts";

export const HPKE_PUBLIC_KEY = 1216; // MLKEM768-X25519
export const MAX_KEEPERS = 16;
const SIGNED_PREFIX = "allod/committee/v1\0";

/** One keeper: its index 1…n, its HPKE public key of the epoch, its signing address, where it answers. */
export interface Keeper {
  readonly index: number;
  readonly hpke: Hex;
  readonly address: Hex;
  readonly endpoint: string;
}

/** t shares open a key, q signatures settle; `end` is Unix seconds, after which nothing is released. */
export interface Committee {
  readonly t: number;
  readonly n: number;
  readonly q: number;
  readonly epoch: number;
  readonly end: number;
  readonly keepers: readonly Keeper[];
  readonly signatures: readonly Hex[];
  /** sha256 of the canonical form without its signatures. Share tables name it. */
  readonly id: Hex;
  /** keccak(q, addresses): outlives HPKE epochs; terms and jobs name it. */
  readonly hash: Hex;
}

/** keccak256(abi.encode(uint256 q, address[] keepers)): what terms and jobs name. */
export function committeeHash(q: number, keepers: readonly Hex[]): Hex {
  integer(q, "The quorum", MAX_KEEPERS, 1);
  if (keepers.length < q || keepers.length > MAX_KEEPERS) {
    throw new InvalidInput("The quorum is larger than the committee, or the committee is too large.");
  }
  const addresses = keepers.map((address) => wordOf(numberOf(hexOctets(address, "A keeper's address", 20))));
  return hexOf(keccak(wordOf(q), wordOf(64), wordOf(keepers.length), ...addresses));
}

/** A committee from its canonical JSON, else `InvalidInput`. Does not verify the signatures. */
export function decodeCommittee(document: Uint8Array | string): Committee {
  const data = typeof document === "string" ? utf8(document) : document;
  const keys = ["v", "type", "t", "n", "q", "epoch", "end", "keepers", "signatures"];
  const fields = exactMap(decodeJson(data, 256 << 10), keys, "The committee");
  constant(fields.v, 1, "The committee's version");
  constant(fields.type, "allod/committee", "The committee's type");
  const keepers = exactList(fields.keepers, "The committee's keepers", MAX_KEEPERS, 1).map(readKeeper);
  const n = keepers.length;
  constant(fields.n, n, "The committee's n");
  const t = integer(fields.t, "The committee's t", n, 1);
  // Below n − t + 1, keepers that released a share could be left out of the statement that lowers its leaf.
  const q = integer(fields.q, "The committee's q", n, n - t + 1);
  const epoch = integer(fields.epoch, "The committee's epoch", UINT40_MAX);
  const end = integer(fields.end, "The committee's end", UINT40_MAX, 1);
  if (keepers.some((keeper, at) => keeper.index !== at + 1)) {
    throw new InvalidInput("A committee's keepers are numbered from 1, in order.");
  }
  if (new Set(keepers.map(({ address }) => address)).size !== n || new Set(keepers.map(({ hpke }) => hpke)).size !== n) {
    throw new InvalidInput("Two keepers of a committee share an address or a key.");
  }
  const signatures = exactList(fields.signatures, "The committee's signatures", MAX_KEEPERS).map((item) =>
    hexOctets(item, "A keeper's signature", 65),
  );
  if (signatures.length !== 0 && signatures.length !== n) {
    throw new InvalidInput("A committee is signed by each keeper, or not yet at all.");
  }
  const { signatures: _, ...body } = fields;
  const id = hexOf(sha256(encodeJson(body as Json)));
  return { t, n, q, epoch, end, keepers, signatures, id, hash: committeeHash(q, keepers.map(({ address }) => address)) };
}

function readKeeper(value: unknown): Keeper {
  const fields = exactMap(value, ["index", "hpke", "address", "endpoint"], "A keeper");
  const keeper = {
    index: integer(fields.index, "A keeper's index", MAX_KEEPERS, 1),
    hpke: hexOctets(fields.hpke, "A keeper's HPKE key", HPKE_PUBLIC_KEY),
    address: hexOctets(fields.address, "A keeper's address", 20),
    endpoint: text(fields.endpoint, "A keeper's endpoint", 300),
  };
  if (keeper.address === NOBODY) throw new InvalidInput("A keeper has an address.");
  return keeper;
}

/** What each keeper signs: keccak256("allod/committee/v1" ‖ 0x00 ‖ id). */
export function committeeDigest({ id }: Pick<Committee, "id">): Bytes {
  return keccak(SIGNED_PREFIX, bytesOf(id));
}

/** `Corrupted` unless every keeper signed, each with the key of its address. */
export function verifyCommittee(committee: Committee): void {
  if (committee.signatures.length !== committee.n) {
    throw new Corrupted("The committee's document is not signed by its keepers.");
  }
  const digest = committeeDigest(committee);
  committee.keepers.forEach(({ index, address }, at) => {
    let signer: Hex = NOBODY;
    try {
      signer = recover(digest, committee.signatures[at] ?? "0x");
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error;
    }
    if (signer !== address) throw new Corrupted(`Keeper ${index} did not sign this committee's document.`);
  });
}

/** The document of a server's answer, decoded and signed by all; `Corrupted` if its id or hash are not what was told. */
export function readCommittee(document: string, told?: Pick<Committee, "id" | "hash">): Committee {
  const committee = decodeCommittee(document);
  verifyCommittee(committee);
  if (told !== undefined && (told.id !== committee.id || told.hash !== committee.hash)) {
    throw new Corrupted("The server tells another committee than the document that its keepers signed.");
  }
  return committee;
}

/** A committee as the vault takes it to share keys among its keepers. */
export function forSharing({ id, t, keepers }: Committee): { id: Bytes; t: number; keys: Bytes[] } {
  return { id: bytesOf(id), t, keys: keepers.map(({ hpke }) => bytesOf(hpke)) };
}
