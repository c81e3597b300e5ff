/** The consents of an owner, ending them, and being paid: what owners see, sign and send besides publishing. */

import { call, get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { ConsentRow, Hex, Operation, Page, World } from "../../api/types.ts";
import { type Consent, encodeConsent, epochOf, highestPlace, isOffer, readConsentFields } from "../../deeds/consent.ts";
import { type Revocation, type RevocationBody, revokeAll as endAll, revokeNonces, revokeTokens } from "../../deeds/revocation.ts";
import { consentSentence } from "../../deeds/sentences.ts";
import { type Terms, termsHash } from "../../deeds/terms.ts";
import { toHex } from "../../vault/bytes.ts";
import { InvalidInput } from "../../vault/errors.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import { placeOf, styleFor } from "./here.ts";
import { ownedDatasets, signedConsents } from "./owned.ts";
import type { Open } from "./owner.svelte.ts";
import { revoking } from "./plans.ts";
import { Steps } from "./steps.ts";

type Say = (words: string) => void;

const LOST = "a dataset that this vault cannot read";
const PAGES = 50; // of what the server says; it may not keep this page asking for ever

/** A consent of this owner's: what it allows as it was signed, and what became of it as the server tells. */
export interface Held {
  readonly number: number;
  readonly consent: Consent;
  /** Whether the vault has it among its records; what only a server says was signed is not revoked one by one. */
  readonly isKept: boolean;
  readonly title: string | null;
  readonly terms: Terms | null;
  /** Undefined where the server says nothing of it. */
  readonly told: ConsentRow | undefined;
}

/** Every consent in the vault's records, newest first, and below them what only the server knows. */
export async function heldConsents(open: Open, signal?: AbortSignal): Promise<Held[]> {
  const [told] = await Promise.all([toldConsents(open.signer.address, signal), open.vault.refresh(signal)]);
  const [datasets, signed] = await Promise.all([ownedDatasets(open), signedConsents(open)]);
  const describe = (consent: Consent, isKept: boolean, number: number): Held => {
    const dataset = datasets.get(consent.asset);
    return {
      number,
      consent,
      isKept,
      title: dataset?.title ?? null,
      terms: dataset?.terms.find((terms) => termsHash(terms) === consent.terms) ?? null,
      told: told.get(keyOf(consent))?.row,
    };
  };
  const kept = signed.map((consent, at) => describe(consent, true, at + 1)).reverse();
  const known = new Set(signed.map(keyOf));
  const others = [...told].filter(([key]) => !known.has(key)).map(([, { consent }]) => consent);
  return [...kept, ...others.map((consent, at) => describe(consent, false, kept.length + at + 1))];
}

/** The server's rows by the consents that they speak of, exactly; rows of others and what is no consent are left out. */
async function toldConsents(owner: Hex, signal?: AbortSignal): Promise<Map<string, { row: ConsentRow; consent: Consent }>> {
  const rows = new Map<string, { row: ConsentRow; consent: Consent }>();
  let after: string | undefined;
  for (let page = 0; page < PAGES; page++) {
    const query = { role: "owner", limit: 100, after };
    const found = await get<Page<ConsentRow>>("/v1/consents", { query, ...(signal === undefined ? {} : { signal }) });
    for (const row of found.data) {
      const consent = consentOf(row);
      if (consent?.owner === owner) rows.set(keyOf(consent), { row, consent });
    }
    if (!found.has_more || found.next_after == null) break;
    after = found.next_after;
  }
  return rows;
}

function consentOf(row: ConsentRow): Consent | null {
  try {
    return readConsentFields(row.consent);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return null;
  }
}

function keyOf(consent: Consent): string {
  return toHex(encodeConsent(consent));
}

/** End these: named consents by their tokens, offers by their nonces, which ends every taker's token too. */
export function planRevocation(open: Open, world: World, rows: readonly Held[]): Plan {
  const owner = open.signer.address;
  const place = placeOf(world);
  const offers = rows.filter((row) => isOffer(row.consent));
  const tokens = rows.filter((row) => !isOffer(row.consent)).map(({ consent }) => [consent, consent.grantee] as const);
  const messages = [
    ...revokeTokens(place, owner, tokens),
    ...revokeNonces(place, owner, offers.map(({ consent }) => consent)),
  ];
  const takers = offers.reduce((sum, row) => sum + (row.told?.tokens.length ?? 0), 0);
  const steps = new Steps();
  return {
    ...revoking(
      rows.map(({ consent, title, terms }) => consentSentence(consent, title ?? LOST, terms, styleFor(world))),
      offers.length,
      takers,
    ),
    act: (say) => send(open, messages, steps, say),
  };
}

/** End every consent of the owner's epoch, those that this page does not know included. */
export async function revokeAll(open: Open, world: World, steps: Steps, say: Say): Promise<Operation[]> {
  const owner = open.signer.address;
  const known = await signedConsents(open);
  const above = highestPlace(owner, known).toString();
  const { nonce } = await call<{ nonce: string }>("POST", "/v1/consent_nonces", { body: { above } });
  const epoch = epochOf({ nonce: BigInt(nonce) });
  if (known.some((one) => epochOf(one) > epoch)) {
    throw Problem.local(
      "unavailable",
      "The server names an epoch from before your newest consent.",
      "Its chain lags, or it lies: try again later, or revoke the consents one by one.",
    );
  }
  return await send(open, [endAll(placeOf(world), owner, epoch)], steps, say);
}

async function send(open: Open, messages: readonly Revocation[], steps: Steps, say: Say): Promise<Operation[]> {
  const operations: Operation[] = [];
  for (const [at, { deed, body }] of messages.entries()) {
    say(open.signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
    const signature = await steps.once(`sign ${at}`, () => open.signer.signDeed(deed));
    say("Telling the keepers…");
    operations.push(await steps.send(`send ${at}`, "/v1/revocations", { ...written(body), signature }));
  }
  return operations;
}

/** As the API writes it: a mask is 32 bytes. */
function written(body: RevocationBody): RevocationBody {
  if (body.kind !== "revoke_nonces") return body;
  return { ...body, mask: `0x${BigInt(body.mask).toString(16).padStart(64, "0")}` };
}

const MOST = 100; // jobs that one claim may name

/** Have these jobs' earnings paid out; where they are too many to name, all that can be. */
export async function claim(jobs: readonly Hex[], steps: Steps): Promise<Operation[]> {
  const body = { job_ids: jobs.length > MOST ? [] : jobs };
  return [await steps.send("claim", "/v1/claims", body)];
}
