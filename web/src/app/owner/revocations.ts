/** The consents of an owner, ending them, and being paid: what owners see, sign and send besides publishing. */

import { call, get } from "../../api/client.ts";
import { Problem, problemOf } from "../../api/problem.ts";
import type { ConsentRow, Hex, Operation, Page, World } from "../../api/types.ts";
import { type Consent, encodeConsent, epochOf, highestPlace, isOffer, readConsentFields } from "../../deeds/consent.ts";
import { type Revocation, type RevocationBody, revokeAll as endAll, revokeNonces, revokeTokens } from "../../deeds/revocation.ts";
import { consentSentence } from "../../deeds/sentences.ts";
import type { Terms } from "../../deeds/terms.ts";
import { toHex } from "../../vault/bytes.ts";
import { AllodError, InvalidInput } from "../../vault/errors.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import { keepRevocation, keptEndings } from "./endings.ts";
import { placeOf, styleFor } from "./here.ts";
import { type Owned, readableConsents, shownDatasets } from "./owned.ts";
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
  /** Whether the vault has it among its records. */
  readonly isKept: boolean;
  /** Whether it may be revoked by itself: what only a server says was signed just where records of the vault are lost. */
  readonly canEnd: boolean;
  /** Whether the vault has a revocation of it that the server accepted. */
  readonly isEnded: boolean;
  readonly title: string | null;
  readonly terms: Terms | null;
  /** Undefined where the server says nothing of it. */
  readonly told: ConsentRow | undefined;
}

/** What is known of an owner's consents, however little of the vault can be read: who cannot see all can end all. */
export interface Holdings {
  readonly rows: readonly Held[];
  /** Documents of the vault that cannot be read: each may be a consent. */
  readonly lost: number;
  /** Why it is not known whether the vault has newer ones. */
  readonly stale: Problem | undefined;
}

/** Every consent in the vault's records, newest first, and below them what only the server knows. */
export async function heldConsents(open: Open, signal?: AbortSignal): Promise<Holdings> {
  const [told, stale] = await Promise.all([toldConsents(open.signer.address, signal), refreshed(open, signal)]);
  const { consents: signed, lost } = await readableConsents(open); // first: what was read is not asked for again
  const [datasets, isEnded] = await Promise.all([shownDatasets(open).catch(untitled), keptEndings(open)]);
  const isWhole = lost === 0 && stale === undefined;
  const describe = (consent: Consent, isKept: boolean, number: number): Held => {
    const dataset = datasets.get(consent.asset);
    return {
      number,
      consent,
      isKept,
      canEnd: isKept || (!isWhole && !isOffer(consent)),
      isEnded: isEnded(consent),
      title: dataset?.title ?? null,
      terms: dataset?.terms.get(consent.terms) ?? null,
      told: told.get(keyOf(consent))?.row,
    };
  };
  const kept = signed.map((consent, at) => describe(consent, true, at + 1)).reverse();
  const known = new Set(signed.map(keyOf));
  const others = [...told].filter(([key]) => !known.has(key)).map(([, { consent }]) => consent);
  const rows = [...kept, ...others.map((consent, at) => describe(consent, false, kept.length + at + 1))];
  return { rows, lost, stale };
}

/** Look for newer changes of the vault; why that failed. */
async function refreshed(open: Open, signal?: AbortSignal): Promise<Problem | undefined> {
  try {
    await open.vault.refresh(signal);
    return undefined;
  } catch (thrown) {
    signal?.throwIfAborted();
    return problemOf(thrown);
  }
}

/** Without titles a consent can be ended too. */
function untitled(error: unknown): ReadonlyMap<Hex, Owned> {
  if (!(error instanceof AllodError)) throw error;
  return new Map();
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

/** End every consent of the owner's epoch, those that this page does not know or cannot read included. */
export async function revokeAll(open: Open, world: World, steps: Steps, say: Say): Promise<Operation[]> {
  const owner = open.signer.address;
  const { consents: known } = await readableConsents(open);
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
    await steps.once(`keep ${at}`, () => keepRevocation(open, body, signature));
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
