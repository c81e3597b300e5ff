/**
 * What an owner is about to sign, as the sheet shows it: first drafted from the vault's own documents, then told in
 * sentences made from the drafts; the act signs those very drafts. A server decides none of it.
 */

import { get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Dataset, DatasetRow, Hex, Page, TrainerRequest, World } from "../../api/types.ts";
import { checkCard } from "../../deeds/card.ts";
import { draftConsent } from "../../deeds/consent.ts";
import { NOBODY } from "../../deeds/fields.ts";
import { purposeOfHash } from "../../deeds/purposes.ts";
import { consentSentence, priceSentence, termsSentence } from "../../deeds/sentences.ts";
import { type Terms, termsHash, writeTerms } from "../../deeds/terms.ts";
import type { Proposal } from "../stores/offer.svelte.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import { placeOf, styleFor } from "./here.ts";
import { asked, covers, type Licence, type Usual } from "./licence.ts";
import { type Owned, ownedDatasets, shownDatasets, signedConsents } from "./owned.ts";
import type { Open } from "./owner.svelte.ts";
import { approving, offering, publishing } from "./plans.ts";
import { approve, offer, publish } from "./publishing.ts";
import { Steps } from "./steps.ts";

const UNLISTED = "Your vault has no record of the terms that this server lists it with. These pay your own account:";

/** What terms say where neither the owner nor the dataset's listed terms say otherwise. */
function usual(open: Open, world: World): Usual {
  return { payee: open.signer.address, runner: NOBODY, committee: world.committee.hash };
}

/** What a job pays, and to whom if that is not the owner's own account. */
function pay(open: Open, world: World, terms: Terms): string[] {
  const price = priceSentence(terms, styleFor(world));
  return terms.payee === open.signer.address ? [price] : [price, `It is paid to ${terms.payee}.`];
}

function namesOf(dataset: Owned): { title: string; files: string[] } {
  return { title: dataset.title, files: dataset.files.map(({ name }) => name) };
}

function unknown(): Problem {
  return Problem.local("not-found", "Your vault lists no such dataset.", "Publish it from this vault first.");
}

// Publishing.

export function planPublication(open: Open, world: World, proposal: Proposal): Plan {
  const { licence, files, isOpen } = proposal;
  const [card, steps] = [checkCard(proposal.card), new Steps()];
  const terms = writeTerms({ ...licence, ...usual(open, world) });
  const allows = [termsSentence(terms, card.title, null, styleFor(world))];
  const signed = { title: card.title, files: files.map((file) => file.name), allows, pays: pay(open, world, terms) };
  return {
    ...publishing(signed, terms.purposes.length, isOpen),
    act: (say) => publish(open, world, { ids: files.map((file) => file.id), card, terms, isOpen }, steps, say),
  };
}

// What is published, and offering it.

/** A dataset of this owner's as the catalogue lists it, in the vault's words where the vault has it. */
export interface Published {
  readonly asset: Hex;
  readonly title: string;
  readonly records: number;
  /** Those that it is listed with, by the vault's own record; null if there is none. */
  readonly terms: Terms | null;
  readonly offers: number;
  /** Purposes of these terms that nobody can take by an open offer. */
  readonly missing: readonly string[];
}

/** This owner's newest datasets. */
export async function publishedDatasets(open: Open, signal?: AbortSignal): Promise<Published[]> {
  const options = { query: { owner: open.signer.address, limit: 100 }, ...(signal === undefined ? {} : { signal }) };
  const [rows, owned] = await Promise.all([get<Page<DatasetRow>>("/v1/datasets", options), shownDatasets(open)]);
  return await Promise.all(
    rows.data.map(async ({ asset }) => {
      const listed = await readListed(asset, signal);
      const dataset = owned.get(asset);
      const terms = listedTerms(listed, dataset);
      return {
        asset,
        title: dataset?.title ?? listed.title,
        records: dataset?.built.records ?? listed.records,
        terms,
        offers: listed.offers.length,
        missing: terms === null ? [] : missingOf(listed, terms),
      };
    }),
  );
}

async function readListed(asset: Hex, signal?: AbortSignal): Promise<Dataset> {
  return await get<Dataset>(`/v1/datasets/${asset}`, signal === undefined ? {} : { signal });
}

/** The terms that the catalogue names by their hash, as this vault wrote them: not the newest, which one trainer may have got. */
function listedTerms(listed: Dataset, dataset: Owned | undefined): Terms | null {
  return (listed.terms_hash === null ? undefined : dataset?.terms.get(listed.terms_hash)) ?? null;
}

function missingOf(listed: Dataset, terms: Terms): string[] {
  const under = termsHash(terms);
  const offered = listed.offers
    .filter(({ consent }) => consent.terms === under)
    .map(({ consent }) => purposeOfHash(consent.purpose)?.code);
  return terms.purposes.filter((code) => !offered.includes(code));
}

export async function planOffer(open: Open, world: World, asset: Hex): Promise<Plan> {
  await open.vault.refresh();
  const [listed, owned] = await Promise.all([readListed(asset), ownedDatasets(open)]);
  const dataset = owned.get(asset);
  if (dataset === undefined) throw unknown();
  const terms = listedTerms(listed, dataset);
  if (terms === null) {
    throw Problem.local(
      "refused",
      "This server lists the dataset with terms that your vault has no record of.",
      "Do not offer it here; ask who operates this server, or publish the files anew.",
    );
  }
  const purposes = missingOf(listed, terms);
  if (purposes.length === 0) {
    throw Problem.local("conflict", "Each purpose of its terms is on offer already.", "See it among your consents.");
  }
  const { escrow } = placeOf(world);
  const drafts = purposes.map((purpose) =>
    draftConsent({ owner: open.signer.address, grantee: null, asset, terms, purpose, escrow, now: Date.now() / 1000 }),
  );
  const allows = drafts.map((draft) => consentSentence(draft, dataset.title, terms, styleFor(world)));
  const steps = new Steps();
  return {
    ...offering({ ...namesOf(dataset), allows, pays: pay(open, world, terms) }, purposes.length),
    act: (say) => offer(open, world, drafts, steps, say),
  };
}

// Answering a request.

/**
 * A consent for the trainer who asked: under terms that stand where some say exactly that, else under new ones. Whom it
 * pays and who may run the jobs is as in the terms that the dataset is listed with.
 */
export async function planApproval(open: Open, world: World, request: TrainerRequest, changed?: Licence): Promise<Plan> {
  const { id, asset, purpose, trainer } = request;
  const licence = changed ?? asked(request);
  if (trainer === NOBODY) {
    throw Problem.local("refused", "The request names no trainer: to approve it would be an offer to all.", "Report it.");
  }
  await open.vault.refresh();
  const dataset = (await ownedDatasets(open)).get(asset);
  if (dataset === undefined) throw unknown();
  const listed = await readListed(asset);
  const before = listedTerms(listed, dataset);
  const normal = before === null ? usual(open, world) : { ...usual(open, world), payee: before.payee, runner: before.runner };
  const standing = (await registeredTerms(open, dataset, listed)).find((terms) => covers(terms, licence, normal));
  const terms = standing ?? writeTerms({ ...licence, ...normal });
  const draft = draftConsent({
    owner: open.signer.address,
    grantee: trainer,
    asset,
    terms,
    purpose,
    escrow: placeOf(world).escrow,
    now: Date.now() / 1000,
    expiry: licence.expiry,
    maxUses: licence.maxUses,
  });
  const allows = [consentSentence(draft, dataset.title, terms, styleFor(world))];
  const news = before === null && standing === undefined ? [`${UNLISTED} ${terms.payee}.`] : [];
  const signed = { ...namesOf(dataset), allows, pays: [...pay(open, world, terms), ...news] };
  const steps = new Steps();
  return {
    ...approving(signed, changed !== undefined, standing === undefined),
    act: (say) => approve(open, world, { draft, request: id, built: standing === undefined ? dataset.built : null, terms }, steps, say),
  };
}

/** Terms that were sent, not only kept: those that the dataset is listed with, and those that a signed consent names. */
async function registeredTerms(open: Open, dataset: Owned, listed: Dataset): Promise<Terms[]> {
  const sent = new Set([listed.terms_hash, ...(await signedConsents(open)).map((consent) => consent.terms)]);
  return [...dataset.terms].filter(([hash]) => sent.has(hash)).map(([, terms]) => terms);
}
