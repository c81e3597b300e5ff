/**
 * Ending consents: signed once by the owner, sent to keepers and chain alike by whoever relays.
 *
 * One token by its id (`Revoke`), signatures by their nonces, for every taker (`RevokeNonces`), or all (`RevokeAll`).
 */

import { InvalidInput } from "../vault/errors.ts";
import {
  bitOf, consentId, wordOfNonce, writeConsentFields, type Consent, type ConsentFields, type Place,
} from "./consent.ts";
import type { Hex } from "./fields.ts";
import type { Deed } from "./typed.ts";

const BATCH = 16; // tokens of one signature, the contract's bound

/** What is signed, and what the API takes beside the signature. */
export interface Revocation {
  readonly deed: Deed;
  readonly body: RevocationBody;
}

/** The body of POST /v1/revocations without its signature; numbers of any size are decimal texts. */
export type RevocationBody =
  | { readonly kind: "revoke"; readonly owner: Hex; readonly consents: readonly ConsentFields[]; readonly holders: readonly Hex[] }
  | { readonly kind: "revoke_nonces"; readonly owner: Hex; readonly word: string; readonly mask: string }
  | { readonly kind: "revoke_all"; readonly owner: Hex; readonly epoch: number };

type Contracts = Pick<Place, "chainId" | "consentToken">;

/** End these tokens, each with its holder: one signature for every sixteen. An offer's other takers keep theirs. */
export function revokeTokens(place: Contracts, owner: Hex, tokens: readonly (readonly [Consent, Hex])[]): Revocation[] {
  for (const [consent] of tokens) checkOwner(consent, owner);
  const out: Revocation[] = [];
  for (let at = 0; at < tokens.length; at += BATCH) {
    const chunk = tokens.slice(at, at + BATCH);
    const ids = chunk.map(([consent, holder]) => consentId(place, consent, holder));
    out.push({
      deed: { kind: "Revoke", chainId: place.chainId, contract: place.consentToken, message: { owner, ids } },
      body: {
        kind: "revoke",
        owner,
        consents: chunk.map(([consent]) => writeConsentFields(consent)),
        holders: chunk.map(([, holder]) => holder),
      },
    });
  }
  return out;
}

/** End these signatures, in a drawer or minted, for every taker: one message for each word of 256 nonces. */
export function revokeNonces(place: Contracts, owner: Hex, consents: readonly Consent[]): Revocation[] {
  const masks = new Map<bigint, bigint>();
  for (const consent of consents) {
    checkOwner(consent, owner);
    const word = wordOfNonce(consent);
    masks.set(word, (masks.get(word) ?? 0n) | (1n << BigInt(bitOf(consent))));
  }
  return [...masks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([word, mask]) => ({
    deed: { kind: "RevokeNonces", chainId: place.chainId, contract: place.consentToken, message: { owner, word, mask } },
    body: { kind: "revoke_nonces", owner, word: word.toString(), mask: mask.toString() },
  }));
}

/** End every consent of the owner's current epoch. */
export function revokeAll(place: Contracts, owner: Hex, epoch: number): Revocation {
  return {
    deed: { kind: "RevokeAll", chainId: place.chainId, contract: place.consentToken, message: { owner, epoch } },
    body: { kind: "revoke_all", owner, epoch },
  };
}

function checkOwner(consent: Consent, owner: Hex): void {
  if (consent.owner !== owner) throw new InvalidInput("Only its owner revokes a consent.", "Sign in as its owner.");
}
