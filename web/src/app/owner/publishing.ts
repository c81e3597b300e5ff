/** Publishing a dataset, offering it, and approving a request: terms, shares, records, signatures, in that order. */

import { call, get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Dataset, DatasetRow, Hex, Operation, Page, TrainerRequest, World } from "../../api/types.ts";
import { checkCard } from "../../deeds/card.ts";
import { readCommittee } from "../../deeds/committee.ts";
import {
  type Consent,
  checkNonce,
  consentDeed,
  decodeConsent,
  draftConsent,
  encodeConsent,
  highestPlace,
  type Place,
  writeConsentFields,
} from "../../deeds/consent.ts";
import { keccak } from "../../deeds/hashes.ts";
import { decodeTerms, encodeTerms, type Terms, termsHash, writeTerms } from "../../deeds/terms.ts";
import type { Deed } from "../../deeds/typed.ts";
import { equal, fromHex, toHex } from "../../vault/bytes.ts";
import { Link } from "../../vault/cbor.ts";
import type { BuiltDataset, Cid } from "../../vault/index.ts";
import type { Proposal } from "../stores/offer.svelte.ts";
import { covers, type Licence } from "./licence.ts";
import type { Open } from "./owner.svelte.ts";
import type { Steps } from "./steps.ts";

const DATASET = "dataset"; // kinds of the vault's own records, as on the command line
const CONSENT = "consent";

type Say = (words: string) => void;
type Bytes = Uint8Array<ArrayBuffer>;

export function placeOf(world: World): Place {
  const { registry, consent_token, escrow } = world.contracts;
  return { chainId: world.chain_id, registry, consentToken: consent_token, escrow };
}

function hex(bytes: Uint8Array): Hex {
  return toHex(bytes) as Hex;
}

/** keccak256(owner ‖ sha256(header)): the dataset's id on chain. */
function assetOf(owner: Hex, digest: Bytes): Hex {
  return hex(keccak(fromHex(owner, 20), digest));
}

async function listed(account: Hex | undefined, signal?: AbortSignal): Promise<DatasetRow[]> {
  const options = { query: { owner: account, limit: 100 }, ...(signal === undefined ? {} : { signal }) };
  return (await get<Page<DatasetRow>>("/v1/datasets", options)).data;
}

/** This owner's newest datasets as the catalogue shows them, each with its open offers. */
export async function ownDatasets(account: Hex | undefined, signal?: AbortSignal): Promise<Dataset[]> {
  return await Promise.all((await listed(account, signal)).map((row) => readDataset(row.asset, signal)));
}

async function readDataset(asset: Hex, signal?: AbortSignal): Promise<Dataset> {
  return await get<Dataset>(`/v1/datasets/${asset}`, signal === undefined ? {} : { signal });
}

/** A file of a dataset, as only its owner knows it. */
export interface DatasetFile {
  readonly name: string;
  readonly records: number;
}

/** Titles from the catalogue, and the names of the files behind them from the vault. */
export async function namesOfAssets(
  open: Open,
  account: Hex | undefined,
): Promise<{ asset: Hex; title: string; files: DatasetFile[] }[]> {
  const [datasets, entries] = await Promise.all([listed(account), open.vault.entries()]);
  return datasets.map(({ asset, title }) => ({
    asset,
    title,
    files: entries
      .filter((entry) => entry.datasets.some((digest) => assetOf(open.signer.address, digest) === asset))
      .map((entry) => ({ name: entry.name, records: entry.records })),
  }));
}

/** Build, share, keep, register; then an open offer for each purpose, if it is to be open. */
export async function publish(open: Open, world: World, proposal: Proposal, steps: Steps, say: Say): Promise<Operation[]> {
  const { licence, card, files } = proposal;
  const terms = await steps.once("terms", () => Promise.resolve(termsOf(open, world, licence)));
  say("Putting the dataset together…");
  const built = await steps.once("dataset", () =>
    open.vault.buildDataset(files.map((file) => fromHex(file.id, 32)), { ...checkCard(card) }),
  );
  const operations = [await register(open, world, built, terms, steps, say)];
  if (!proposal.isOpen) return operations;
  const asset = assetOf(open.signer.address, built.digest);
  for (const purpose of licence.purposes) {
    operations.push(await consent(open, world, { asset, terms, purpose }, null, steps, say));
  }
  return operations;
}

/** An open offer for each of these purposes, under the dataset's own terms. */
export async function offer(
  open: Open,
  world: World,
  asset: Hex,
  purposes: readonly string[],
  steps: Steps,
  say: Say,
): Promise<Operation[]> {
  const terms = await ownTerms(open, asset);
  const operations: Operation[] = [];
  for (const purpose of purposes) {
    operations.push(await consent(open, world, { asset, terms, purpose }, null, steps, say));
  }
  return operations;
}

/** A consent for the trainer who asked: under the standing terms where they fit, else under new ones. */
export async function approve(
  open: Open,
  world: World,
  request: TrainerRequest,
  licence: Licence,
  steps: Steps,
  say: Say,
): Promise<Operation[]> {
  const { asset, purpose, trainer } = request;
  const standing = await steps.once("standing", () => ownTerms(open, asset));
  const operations: Operation[] = [];
  let terms = standing;
  if (!covers(standing, licence)) {
    terms = await steps.once("terms", () => Promise.resolve(termsOf(open, world, licence)));
    const built = await builtAs(open, asset);
    operations.push(await register(open, world, built, terms, steps, say));
  }
  const wish = { asset, terms, purpose, grantee: trainer, expiry: licence.expiry, maxUses: licence.maxUses };
  operations.push(await consent(open, world, wish, request.id, steps, say));
  return operations;
}

function termsOf(open: Open, world: World, licence: Licence): Terms {
  return writeTerms({ ...licence, payee: open.signer.address, committee: world.committee.hash });
}

/** The newest terms of this owner's dataset, from the vault's own records: a server must not choose what is signed. */
async function ownTerms(open: Open, asset: Hex): Promise<Terms> {
  const mine = (await open.vault.records(DATASET)).filter((body) => isAsset(body["asset"], asset));
  const terms = mine.at(-1)?.["terms"];
  if (terms instanceof Uint8Array) return decodeTerms(terms);
  throw Problem.local("not-found", "Your vault has published no such dataset.", "Publish it from this vault first.");
}

async function builtAs(open: Open, asset: Hex): Promise<BuiltDataset> {
  const datasets = await open.vault.datasets();
  const found = datasets.find((one) => assetOf(open.signer.address, one.digest) === asset);
  if (found !== undefined) return found;
  throw Problem.local("not-found", "Your vault lists no such dataset.", "Publish it from this vault first.");
}

function isAsset(value: unknown, asset: Hex): boolean {
  return value instanceof Uint8Array && equal(value, fromHex(asset, 32));
}

/** Share the keys, keep the record, sign and send the registration of these terms. */
async function register(
  open: Open,
  world: World,
  built: BuiltDataset,
  terms: Terms,
  steps: Steps,
  say: Say,
): Promise<Operation> {
  const { signer, vault } = open;
  const place = placeOf(world);
  const asset = assetOf(signer.address, built.digest);
  const encoded = encodeTerms(terms);
  const told = readCommittee(world.committee.document, world.committee); // signed by each of its keepers
  if (told.end <= Date.now() / 1000) {
    throw Problem.local("refused", "The term of these keepers is over.", "Ask who operates this server for the new committee.");
  }
  const committee = { id: fromHex(told.id, 32), t: told.t, keys: told.keepers.map((keeper) => fromHex(keeper.hpke)) };
  const scope = {
    chainId: place.chainId,
    token: fromHex(place.consentToken, 20),
    owner: fromHex(signer.address, 20),
    asset: fromHex(asset, 32),
  };
  say("Sharing the keys among the keepers…");
  const publication = await steps.once<Cid>("shares", async () => {
    const before = (await vault.records(DATASET)).filter((body) => isAsset(body["asset"], asset)).length;
    return await vault.publish(built, encoded, scope, committee, before + 1);
  });
  await steps.once("record", () =>
    vault.saveRecord(DATASET, {
      asset: scope.asset,
      publication: Link.to(publication),
      terms: encoded,
      committee: committee.id,
    }),
  );
  say(signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
  const signature = await steps.once("registration", () =>
    signer.signDeed(registration(place, signer.address, built.digest, termsHash(terms))),
  );
  say("Sending…");
  const body = { publication: publication.toString(), signature };
  return await steps.once("register", () => call<Operation>("POST", "/v1/datasets", { body, key: steps.key("register") }));
}

function registration(place: Place, owner: Hex, digest: Bytes, terms: Hex): Deed {
  return { kind: "Register", chainId: place.chainId, contract: place.registry, message: { owner, digest: hex(digest), terms } };
}

interface Wish {
  readonly asset: Hex;
  readonly terms: Terms;
  readonly purpose: string;
  readonly grantee?: Hex;
  readonly expiry?: number;
  readonly maxUses?: number;
}

/** Sign a consent with a nonce of its own, keep it in the vault, then send it. */
async function consent(
  open: Open,
  world: World,
  wish: Wish,
  request: string | null,
  steps: Steps,
  say: Say,
): Promise<Operation> {
  const { signer, vault } = open;
  const place = placeOf(world);
  const name = `consent ${wish.purpose}`;
  const signed = await steps.once(name, async () => {
    const known = await signedConsents(open);
    const above = highestPlace(signer.address, known);
    const { nonce } = await call<{ nonce: string }>("POST", "/v1/consent_nonces", { body: { above: above.toString() } });
    const draft = draftConsent({
      ...wish,
      owner: signer.address,
      escrow: place.escrow,
      nonce: checkNonce(nonce, signer.address, known),
      now: Date.now() / 1000,
    });
    say(signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
    return { consent: draft, signature: await signer.signDeed(consentDeed(place, draft)) };
  });
  await steps.once(`${name}, kept`, () =>
    vault.saveRecord(CONSENT, { consent: encodeConsent(signed.consent), signature: fromHex(signed.signature) }),
  );
  say("Sending…");
  const body = { consent: writeConsentFields(signed.consent), signature: signed.signature, request };
  return await steps.once(`${name}, sent`, () =>
    call<Operation>("POST", "/v1/consents", { body, key: steps.key(name) }),
  );
}

/** Every consent that this owner ever signed, from the vault's records. */
export async function signedConsents(open: Open): Promise<Consent[]> {
  return (await open.vault.records(CONSENT)).map((body) => decodeConsent(body["consent"] as Bytes));
}
