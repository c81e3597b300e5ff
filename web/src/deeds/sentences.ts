/**
 * Plain sentences out of terms and consents: who may do what, until when, how often, for how much.
 *
 * Pure functions. Another language is another `Phrases`; dates and numbers are Intl's.
 */

import { isOffer, type Draft } from "./consent.ts";
import { NOBODY, type Hex } from "./fields.ts";
import { formatUnits } from "./money.ts";
import { purposeOf, purposeOfHash } from "./purposes.ts";
import { priceOf, type Terms } from "./terms.ts";

/** Everything in a sentence that is a word. Values come ready to read. */
export interface Phrases {
  readonly anyTrainer: string;
  readonly anyModel: string;
  models(count: number): string;
  purposes: Readonly<Record<string, string>>;
  unknownPurpose: string;
  may(who: string, title: string, purposes: string): string;
  epochs(count: number): string;
  uses(count: number): string;
  readonly unlimited: string;
  period(from: string | null, until: string): string;
  onlyRunner(runner: string): string;
  price(flat: string, rate: string): string;
  flat(flat: string): string;
  rate(rate: string): string;
  readonly free: string;
  example(records: string, epochs: string, total: string): string;
}

export const ENGLISH: Phrases = {
  anyTrainer: "Any trainer",
  anyModel: "on any base model",
  models: (count) => (count === 1 ? "on one base model that you chose" : `on one of ${count} base models that you chose`),
  purposes: {
    "academic-research": "academic research",
    "non-commercial-research": "non-commercial research",
    "commercial-research": "commercial research",
    "service-provision": "providing a service or product",
    personalisation: "personalising a service",
  },
  unknownPurpose: "a purpose that is not on Allod's list",
  may: (who, title, purposes) => `${who} may fine-tune on “${title}” for ${purposes}`,
  epochs: (count) => (count === 1 ? "reading each record once per job" : `reading each record up to ${count} times per job`),
  uses: (count) => (count === 1 ? "in one job" : `in up to ${count} jobs`),
  unlimited: "in any number of jobs",
  period: (from, until) => (from === null ? `until ${until}` : `from ${from} until ${until}`),
  onlyRunner: (runner) => `by the runner ${runner} only`,
  price: (flat, rate) => `Each job pays ${flat}, and ${rate} for each record and epoch.`,
  flat: (flat) => `Each job pays ${flat}.`,
  rate: (rate) => `Each job pays ${rate} for each record and epoch.`,
  free: "It pays nothing.",
  example: (records, epochs, total) => `For ${records} records and ${epochs} epochs that is ${total}.`,
};

/** How values are written: `name` makes a short name of an account, `symbol` and `decimals` are the currency's. */
export interface Style {
  readonly locale: string;
  readonly symbol: string;
  readonly decimals: number;
  readonly phrases: Phrases;
  name(account: Hex): string;
}

export function styleOf(currency: { readonly symbol: string; readonly decimals: number }, locale = "en-GB"): Style {
  return { ...currency, locale, phrases: ENGLISH, name: (account) => `${account.slice(0, 8)}…${account.slice(-4)}` };
}

function money(units: bigint, { decimals, locale, symbol }: Style): string {
  return `${formatUnits(units, decimals, locale)} ${symbol}`;
}

function day(seconds: number, { locale }: Style): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "long", timeZone: "UTC" }).format(new Date(seconds * 1000));
}

function listed(items: readonly string[], { locale }: Style): string {
  return new Intl.ListFormat(locale, { type: "disjunction" }).format(items);
}

function spoken(who: string, title: string, purposes: string, parts: readonly string[], { phrases }: Style): string {
  return `${[phrases.may(who, title, purposes), ...parts].join(", ")}.`;
}

/** What these terms allow whoever gets a consent under them; `who` null means any trainer. */
export function termsSentence(terms: Terms, title: string, who: Hex | null, style: Style): string {
  const { phrases } = style;
  const purposes = terms.purposes.map((code) => phrases.purposes[code] ?? purposeOf(code).label);
  const parts = [
    terms.baseModels === null ? phrases.anyModel : phrases.models(terms.baseModels.length),
    terms.maxUses === 0 ? phrases.unlimited : phrases.uses(terms.maxUses),
    phrases.epochs(terms.maxEpochs),
    phrases.period(null, day(terms.expiry, style)),
  ];
  if (terms.runner !== NOBODY) parts.push(phrases.onlyRunner(style.name(terms.runner)));
  return spoken(who === null ? phrases.anyTrainer : style.name(who), title, listed(purposes, style), parts, style);
}

/** What one consent allows. With its terms it also tells models and epochs. */
export function consentSentence(consent: Draft, title: string, terms: Terms | null, style: Style): string {
  const { phrases } = style;
  const purpose = purposeOfHash(consent.purpose);
  const parts = [consent.maxUses === 0 ? phrases.unlimited : phrases.uses(consent.maxUses)];
  if (terms !== null) {
    parts.unshift(terms.baseModels === null ? phrases.anyModel : phrases.models(terms.baseModels.length));
    parts.push(phrases.epochs(terms.maxEpochs));
  }
  parts.push(phrases.period(day(consent.notBefore, style), day(consent.expiry, style)));
  if (consent.runner !== NOBODY) parts.push(phrases.onlyRunner(style.name(consent.runner)));
  const who = isOffer(consent) ? phrases.anyTrainer : style.name(consent.grantee);
  const what = purpose === null ? phrases.unknownPurpose : (phrases.purposes[purpose.code] ?? purpose.label);
  return spoken(who, title, what, parts, style);
}

/** What a job pays, and what that comes to for a dataset of so many records. */
export function priceSentence(terms: Pick<Terms, "flat" | "perRecordEpoch">, style: Style): string {
  const { phrases } = style;
  const [flat, rate] = [money(terms.flat, style), money(terms.perRecordEpoch, style)];
  if (terms.perRecordEpoch === 0n) return terms.flat === 0n ? phrases.free : phrases.flat(flat);
  return terms.flat === 0n ? phrases.rate(rate) : phrases.price(flat, rate);
}

/** The price of one job with so many records and epochs, in a sentence. */
export function exampleSentence(
  terms: Pick<Terms, "flat" | "perRecordEpoch">,
  records: number,
  epochs: number,
  style: Style,
): string {
  const count = new Intl.NumberFormat(style.locale);
  const total = priceOf(terms, BigInt(records) * BigInt(epochs));
  return style.phrases.example(count.format(records), count.format(epochs), money(total, style));
}
