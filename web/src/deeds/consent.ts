/**
 * A consent: what an owner signs so that one trainer's jobs may read one dataset, and the token id it becomes.
 *
 * Its encoding is one deterministic dag-cbor map (docs/format/60-consent.md).
 */

import { bigEndian } from "../vault/bytes.ts";
import { decodeCbor, encodeCbor } from "../vault/cbor.ts";
import { InvalidInput } from "../vault/errors.ts";
import type { Bytes } from "../vault/bytes.ts";
import {
  bigInteger, bytesOf, constant, exactMap, hexOctets, hexOf, integer, NOBODY, numberOf, octets, UINT16_MAX, UINT40_MAX,
  UINT96_MAX, type Hex,
} from "./fields.ts";
import { keccak } from "./hashes.ts";
import { purposeOf } from "./purposes.ts";
import { termsHash, type Terms } from "./terms.ts";
import { digestOf, type Deed } from "./typed.ts";

/** Where deeds count: the chain and the addresses of its contracts. */
export interface Place {
  readonly chainId: number;
  readonly registry: Hex;
  readonly consentToken: Hex;
  readonly escrow: Hex;
}

/** Times are Unix seconds; `grantee` nobody makes it an offer; `runner` nobody means any; `maxUses` 0 means unlimited. */
export interface Consent {
  readonly owner: Hex;
  readonly grantee: Hex;
  readonly asset: Hex;
  readonly terms: Hex;
  readonly purpose: Hex;
  readonly runner: Hex;
  readonly escrow: Hex;
  readonly notBefore: number;
  readonly expiry: number;
  readonly maxUses: number;
  readonly nonce: bigint;
}

/** A consent as the API writes it: the nonce is a decimal text. */
export interface ConsentFields {
  readonly owner: Hex;
  readonly grantee: Hex;
  readonly asset: Hex;
  readonly terms: Hex;
  readonly purpose: Hex;
  readonly runner: Hex;
  readonly escrow: Hex;
  readonly not_before: number;
  readonly expiry: number;
  readonly max_uses: number;
  readonly nonce: string;
}

/** The same consent, or `InvalidInput` if it is malformed. */
export function checkConsent(consent: Consent): Consent {
  for (const name of ["owner", "grantee", "runner", "escrow"] as const) {
    hexOctets(consent[name], `The consent's ${name}`, 20);
  }
  for (const name of ["asset", "terms", "purpose"] as const) hexOctets(consent[name], `The consent's ${name}`, 32);
  integer(consent.notBefore, "The consent's not_before", UINT40_MAX);
  integer(consent.expiry, "The consent's expiry", UINT40_MAX, 1);
  integer(consent.maxUses, "The consent's max_uses", UINT16_MAX);
  bigInteger(consent.nonce, "The consent's nonce", UINT96_MAX);
  if (consent.owner === NOBODY) throw new InvalidInput("A consent needs an owner.");
  if (consent.escrow === NOBODY) throw new InvalidInput("A consent names the escrow that pays for it.");
  if (consent.expiry <= consent.notBefore) {
    throw new InvalidInput("A consent must expire after it begins.", "Choose a later expiry.");
  }
  return consent;
}

export function encodeConsent(consent: Consent): Bytes {
  const { owner, grantee, asset, terms, purpose, runner, escrow, notBefore, expiry, maxUses, nonce } = checkConsent(consent);
  return encodeCbor({
    v: 1,
    kind: "consent",
    owner: bytesOf(owner),
    grantee: bytesOf(grantee),
    asset: bytesOf(asset),
    terms: bytesOf(terms),
    purpose: bytesOf(purpose),
    runner: bytesOf(runner),
    escrow: bytesOf(escrow),
    not_before: notBefore,
    expiry,
    max_uses: maxUses,
    nonce: bigEndian(nonce, 12),
  });
}

const KEYS = [
  "v", "kind", "owner", "grantee", "asset", "terms", "purpose", "runner", "escrow", "not_before", "expiry", "max_uses", "nonce",
];

/** Parse exactly what `encodeConsent` writes, else `InvalidInput`. */
export function decodeConsent(data: Uint8Array): Consent {
  if (data.length > 1024) throw new InvalidInput(`A consent of ${data.length} bytes; at most 1024 are accepted.`);
  const fields = exactMap(decodeCbor(data), KEYS, "The consent");
  constant(fields.v, 1, "The consent's version");
  constant(fields.kind, "consent", "The consent's kind");
  const account = (name: string) => octets(fields[name], `The consent's ${name}`, 20);
  const hash = (name: string) => octets(fields[name], `The consent's ${name}`, 32);
  return checkConsent({
    owner: account("owner"),
    grantee: account("grantee"),
    asset: hash("asset"),
    terms: hash("terms"),
    purpose: hash("purpose"),
    runner: account("runner"),
    escrow: account("escrow"),
    notBefore: integer(fields.not_before, "The consent's not_before", UINT40_MAX),
    expiry: integer(fields.expiry, "The consent's expiry", UINT40_MAX),
    maxUses: integer(fields.max_uses, "The consent's max_uses", UINT16_MAX),
    nonce: numberOf(octets(fields.nonce, "The consent's nonce", 12)),
  });
}

export function writeConsentFields(consent: Consent): ConsentFields {
  const { notBefore, expiry, maxUses, nonce, ...rest } = checkConsent(consent);
  return { ...rest, not_before: notBefore, expiry, max_uses: maxUses, nonce: nonce.toString() };
}

export function readConsentFields(fields: ConsentFields): Consent {
  const { owner, grantee, asset, terms, purpose, runner, escrow, not_before, expiry, max_uses, nonce } = fields;
  if (!/^\d{1,29}$/.test(nonce)) throw new InvalidInput("The consent's nonce is not a decimal number.");
  return checkConsent({
    owner, grantee, asset, terms, purpose, runner, escrow,
    notBefore: not_before,
    expiry,
    maxUses: max_uses,
    nonce: BigInt(nonce),
  });
}

/** What the owner signs, for the ConsentToken of `place`. */
export function consentDeed({ chainId, consentToken }: Pick<Place, "chainId" | "consentToken">, consent: Consent): Deed {
  return { kind: "Consent", chainId, contract: consentToken, message: { ...checkConsent(consent) } };
}

export function isOffer(consent: Pick<Consent, "grantee">): boolean {
  return consent.grantee === NOBODY;
}

/** The token's id: keccak256(digest ‖ holder); an offer has a holder only once somebody takes it. */
export function consentId(place: Pick<Place, "chainId" | "consentToken">, consent: Consent, holder = consent.grantee): Hex {
  if (holder === NOBODY) throw new InvalidInput("An offer has a holder only once somebody takes it.");
  if (!isOffer(consent) && holder !== consent.grantee) throw new InvalidInput("This consent names another trainer.");
  return hexOf(keccak(digestOf(consentDeed(place, consent)), bytesOf(hexOctets(holder, "The holder", 20))));
}

/** epoch[4] ‖ word[7] ‖ bit[1]. */
export function nonceOf(epoch: number, word: bigint, bit: number): bigint {
  integer(epoch, "The nonce's epoch", 2 ** 32 - 1);
  bigInteger(word, "The nonce's word", (1n << 56n) - 1n);
  integer(bit, "The nonce's bit", 255);
  return (BigInt(epoch) << 64n) | (word << 8n) | BigInt(bit);
}

export function epochOf({ nonce }: Pick<Consent, "nonce">): number {
  return Number(nonce >> 64n);
}

export function wordOfNonce({ nonce }: Pick<Consent, "nonce">): bigint {
  return (nonce >> 8n) & ((1n << 56n) - 1n);
}

export function bitOf({ nonce }: Pick<Consent, "nonce">): number {
  return Number(nonce & 255n);
}

/** The highest place without its epoch that this owner ever signed, or −1: the next nonce lies above it. */
export function highestPlace(owner: Hex, signed: Iterable<Consent>): bigint {
  let highest = -1n;
  for (const consent of signed) {
    const place = consent.nonce & UINT64;
    if (consent.owner === owner && place > highest) highest = place;
  }
  return highest;
}

const UINT64 = (1n << 64n) - 1n;

const LAST_PLACE = 1n << 62n; // above it lies what only a mistake or a lie reaches
const MOST_AHEAD = 1n << 16n;

/**
 * A nonce that a server proposed, or `InvalidInput` if a consent that was signed before may have it, or if it lies so
 * far ahead that a lie would use up the numbers below it.
 */
export function checkNonce(proposed: string, owner: Hex, signed: Iterable<Consent>): bigint {
  if (!/^\d{1,29}$/.test(proposed)) throw new InvalidInput("The proposed nonce is not a decimal number.");
  const nonce = bigInteger(BigInt(proposed), "The proposed nonce", UINT96_MAX);
  const [place, highest] = [nonce & UINT64, highestPlace(owner, signed)];
  if (place <= highest) {
    throw new InvalidInput("The server proposed a nonce that you used before.", "Do not sign; report it.");
  }
  if (place > highest + MOST_AHEAD || place >= LAST_PLACE) {
    throw new InvalidInput("The server proposed a nonce far above all that you used.", "Do not sign; report it.");
  }
  return nonce;
}

/**
 * What to draft a consent from; it begins now, ends with the terms and has their uses unless told less. `grantee` null
 * makes it an offer to all: whoever means one trainer never says null, and an address of nobody is refused.
 */
export interface Wish {
  readonly owner: Hex;
  readonly grantee: Hex | null;
  readonly asset: Hex;
  readonly terms: Terms;
  readonly purpose: string;
  readonly escrow: Hex;
  readonly now: number;
  readonly expiry?: number;
  readonly maxUses?: number;
}

/** A consent that lacks only its nonce: what the owner is shown before one is taken for it. */
export type Draft = Omit<Consent, "nonce">;

/** A consent under these terms for `grantee`, or an offer to all. */
export function draftConsent(wish: Wish): Draft {
  const { owner, grantee, asset, terms, purpose, escrow, now } = wish;
  if (grantee === NOBODY) {
    throw new InvalidInput("The consent names nobody, which would make it an offer to all.", "Do not sign; report it.");
  }
  if (!terms.purposes.includes(purpose)) {
    throw new InvalidInput(`The terms do not allow the purpose '${purpose}'.`, `They allow ${terms.purposes.join(", ")}.`);
  }
  const maxUses = wish.maxUses ?? terms.maxUses;
  if (terms.maxUses > 0 && !(maxUses > 0 && maxUses <= terms.maxUses)) {
    throw new InvalidInput("The terms allow fewer uses than this consent.", `Choose between 1 and ${terms.maxUses}.`);
  }
  const { nonce: _, ...draft } = checkConsent({
    owner,
    grantee: grantee ?? NOBODY,
    asset,
    terms: termsHash(terms),
    purpose: purposeOf(purpose).hash,
    runner: terms.runner,
    escrow,
    notBefore: Math.floor(now),
    expiry: Math.min(wish.expiry ?? terms.expiry, terms.expiry),
    maxUses,
    nonce: 0n,
  });
  return draft;
}
