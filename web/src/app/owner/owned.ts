/** What the vault itself says of this owner's datasets and consents: no word of it comes from a server. */

import type { Hex } from "../../api/types.ts";
import { type Consent, decodeConsent } from "../../deeds/consent.ts";
import { assetOf } from "../../deeds/registration.ts";
import { decodeTerms, type Terms, termsHash } from "../../deeds/terms.ts";
import { equal, fromHex } from "../../vault/bytes.ts";
import { InvalidInput } from "../../vault/errors.ts";
import type { Body, BuiltDataset } from "../../vault/index.ts";
import type { Open } from "./owner.svelte.ts";

export const DATASET = "dataset"; // kinds of the vault's own records, as on the command line
export const CONSENT = "consent";

/** A file of a dataset, as only its owner knows it. */
export interface DatasetFile {
  readonly name: string;
  readonly records: number;
}

/** A dataset by its own card, with all terms that this vault published it under by their hashes, oldest first. */
export interface Owned {
  readonly asset: Hex;
  readonly title: string;
  readonly files: readonly DatasetFile[];
  readonly built: BuiltDataset;
  readonly terms: ReadonlyMap<Hex, Terms>;
}

/** The datasets of the vault as it is known here, by their assets. Those whose blocks are lost are not among them. */
export async function ownedDatasets(open: Open): Promise<Map<Hex, Owned>> {
  return await datasetsBy(open, await open.vault.records(DATASET));
}

/** The same for a screen: terms whose record cannot be read are left out. */
export async function shownDatasets(open: Open): Promise<Map<Hex, Owned>> {
  const { records } = await open.vault.readableRecords();
  return await datasetsBy(open, records.filter(({ kind }) => kind === DATASET).map(({ body }) => body));
}

/** The datasets with the terms that these records tell of. */
async function datasetsBy({ vault, signer }: Open, records: readonly Body[]): Promise<Map<Hex, Owned>> {
  const [datasets, entries] = await Promise.all([vault.datasets(), vault.entries()]);
  const owned = datasets.map((built): Owned => {
    const asset = assetOf(signer.address, built.digest);
    const { title } = built.card;
    const terms = records.filter((body) => isOf(body["asset"], asset)).map((body) => decodeTerms(body["terms"] as Uint8Array));
    return {
      asset,
      title: typeof title === "string" ? title : "",
      files: entries
        .filter((entry) => entry.datasets.some((digest) => equal(digest, built.digest)))
        .map(({ name, records }) => ({ name, records })),
      built,
      terms: new Map(terms.map((one) => [termsHash(one), one])),
    };
  });
  return new Map(owned.map((one) => [one.asset, one]));
}

/** How many share tables of this asset were made so far. */
export async function timesShared({ vault }: Open, asset: Hex): Promise<number> {
  return (await vault.records(DATASET)).filter((body) => isOf(body["asset"], asset)).length;
}

/** Every consent that this owner ever signed, on any device, in the order they were kept; fails where one may be lost. */
export async function signedConsents({ vault }: Open): Promise<Consent[]> {
  return (await vault.records(CONSENT)).map((body) => decodeConsent(body["consent"] as Uint8Array));
}

/** What of them can be read, and how many documents of the vault cannot: each may be one more. */
export async function readableConsents({ vault }: Open): Promise<{ consents: Consent[]; lost: number }> {
  const { records, lost } = await vault.readableRecords();
  const found = records.filter(({ kind }) => kind === CONSENT).map(({ body }) => readable(body));
  const consents = found.filter((consent) => consent !== null);
  return { consents, lost: lost + found.length - consents.length };
}

function readable(body: Body): Consent | null {
  try {
    return decodeConsent(body["consent"] as Uint8Array);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return null;
  }
}

function isOf(value: unknown, asset: Hex): boolean {
  return value instanceof Uint8Array && equal(value, fromHex(asset, 32));
}
