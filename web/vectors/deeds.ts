import { TypedData } from "ox";

import { recover } from "../src/deeds/account.ts";
import { decodeJson, encodeJson, type Json } from "../src/deeds/canonical.ts";
import { committeeDigest } from "../src/deeds/committee.ts";
import { bytesOf, hexOf, wordOf } from "../src/deeds/fields.ts";
import { sha256 } from "../src/deeds/hashes.ts";
import { hashesOf, timesOf } from "../src/deeds/order.ts";
import { leafWord, MAX_LEAVES } from "../src/deeds/tree.ts";
import {
  Account, allows, assetOf, consentDeed, consentId, decodeCommittee, decodeConsent, decodeOrder, decodeRecipe, decodeTerms,
  digestOf, encodeConsent, encodeOrder, encodeTerms, jobIdOf, laneWord, localSigner, parseUnits, priceOf, PURPOSES, quote,
  readAddress, readConsentFields, registerDeed, revokeAll, revokeNonces, revokeTokens, signInMessage, SumTree, termsHash,
  typedData, unitDecimals, verifyCommittee, verifyLeaf, writeAddress, writeConsentFields, writeUnits, type ConsentFields,
  type Deed, type Hex, type Place,
} from "../src/deeds/index.ts";
import { fromUtf8, utf8 } from "../src/vault/bytes.ts";
import { decodeCbor, encodeCbor } from "../src/vault/cbor.ts";
import { outcome, refused, same } from "./checking.ts";
import type { Outcome, Suite } from "./suites.ts";

type Told = Readonly<Record<string, string>> & { readonly name: string };

const word = (number: bigint): Hex => hexOf(wordOf(number));

async function* eachOf(cases: unknown, check: (told: never) => unknown): AsyncGenerator<Outcome> {
  for (const told of cases as Told[]) yield await outcome(told.name, () => check(told as never));
}

/** ox, which is not part of the page, makes the same digest out of what a wallet is given. */
function byOx(deed: Deed): Hex {
  return TypedData.getSignPayload(typedData(deed) as unknown as Parameters<typeof TypedData.getSignPayload>[0]);
}

interface ConsentCase {
  readonly name: string;
  readonly chain_id: number;
  readonly token: Hex;
  readonly holder: Hex;
  readonly fields: ConsentFields;
  readonly encoded: Hex;
  readonly digest: Hex;
  readonly id: Hex;
  readonly signature: Hex;
}

const consent: Suite = async function* (vectors) {
  const signer = localSigner(new Account(bytesOf(vectors.owner_key as Hex)));
  yield* eachOf(vectors.cases, async (told: ConsentCase) => {
    const place = { chainId: told.chain_id, consentToken: told.token };
    const found = decodeConsent(bytesOf(told.encoded));
    const deed = consentDeed(place, found);
    same(hexOf(encodeConsent(found)), told.encoded, "encoding");
    same(Object.entries(writeConsentFields(found)).sort(), Object.entries(told.fields).sort(), "fields");
    same(hexOf(encodeConsent(readConsentFields(told.fields))), told.encoded, "encoding of the fields");
    same(hexOf(digestOf(deed)), told.digest, "digest");
    same(byOx(deed), told.digest, "ox's digest");
    same(consentId(place, found, told.holder), told.id, "id");
    if (found.owner === signer.address) same(await signer.signDeed(deed), told.signature, "signature");
    same(recover(digestOf(deed), told.signature), found.owner, "signer");
  });
  yield* refusals(vectors.refused, (encoded) => decodeConsent(bytesOf(encoded)));
};

async function* refusals(cases: unknown, decode: (encoded: Hex) => unknown): AsyncGenerator<Outcome> {
  yield* eachOf(cases, (told: { encoded?: Hex; document?: string }) =>
    refused(() => decode(told.encoded ?? hexOf(utf8(told.document ?? ""))), "invalid-input"),
  );
}

interface TermsCase {
  readonly document: string;
  readonly hash: Hex;
  readonly recipe: string;
  readonly counts: { readonly records: number };
  readonly quote: string;
  readonly reasons: readonly string[];
}

const terms: Suite = async function* (vectors) {
  const ours = PURPOSES.map(({ code, iri, hash }) => ({ code, iri, hash }));
  yield await outcome("purposes", () => same(ours, vectors.purposes, "purposes"));
  yield* eachOf(vectors.cases, (told: TermsCase) => {
    const found = decodeTerms(utf8(told.document));
    const recipe = decodeRecipe(utf8(told.recipe));
    same(fromUtf8(encodeTerms(found)), told.document, "encoding");
    same(termsHash(found), told.hash, "hash");
    same(quote(found, recipe, told.counts.records).toString(), told.quote, "quote");
    same(allows(found, recipe), told.reasons, "reasons");
  });
  yield* refusals(vectors.refused, (encoded) => decodeTerms(bytesOf(encoded)));
};

const recipes: Suite = async function* (vectors) {
  yield* eachOf(vectors.cases, (told: Told) => same(decodeRecipe(utf8(told.document ?? "")).hash, told.hash, "hash"));
  yield* refusals(vectors.refused, (encoded) => decodeRecipe(bytesOf(encoded)));
};

interface TreeCase {
  readonly encoded: Hex;
  readonly root: Hex;
  readonly total: string;
  readonly leaves: readonly { consent: Hex; payee: Hex; amount: string | number; word: Hex; position: number; proof: Hex[] }[];
}

const trees: Suite = async function* (vectors) {
  yield* eachOf(vectors.cases, (told: TreeCase) => {
    const tree = SumTree.decode(bytesOf(told.encoded));
    same([word(tree.root), tree.total.toString(), hexOf(tree.encode())], [told.root, told.total, told.encoded], "tree");
    same(tree.leaves.length, told.leaves.length, "leaves");
    told.leaves.forEach((leaf, at) => {
      const found = { consentId: leaf.consent, payee: leaf.payee, amount: BigInt(leaf.amount) };
      same(tree.leaves[at], found, "leaf");
      same(word(leafWord(found)), leaf.word, "word");
      same([tree.position(at), tree.proof(at).map(word)], [leaf.position, leaf.proof], "proof");
      const proof = leaf.proof.map(BigInt);
      same(verifyLeaf(tree.root, found, leaf.position, proof), true, "verified");
      same(verifyLeaf(tree.root, { ...found, amount: found.amount + 1n }, leaf.position, proof), false, "another amount");
      same(verifyLeaf(tree.root ^ 1n, found, leaf.position, proof), false, "another root");
      same(verifyLeaf(tree.root, found, leaf.position + proof.length + 1, proof), false, "another position");
      same(verifyLeaf(tree.root, found, leaf.position, [...proof, 0n]), false, "a longer proof");
      same(verifyLeaf(tree.root, found, leaf.position, [...proof.slice(1), -1n]), false, "a word that is none");
      same(tree.find(leaf.consent), at, "place");
    });
  });
  yield await outcome("as many leaves as a tree has make one document", () => {
    const rows = Array.from({ length: MAX_LEAVES }, (_, at) => [wordOf(at), new Uint8Array(20), at]);
    same((decodeCbor(encodeCbor(rows), 8 << 20) as readonly unknown[]).length, rows.length, "rows");
  });
  yield* refusals(vectors.refused, (encoded) => SumTree.decode(bytesOf(encoded)));
};

const orders: Suite = async function* (vectors) {
  yield* eachOf(vectors.cases, (told: Told & { encoded: Hex }) => {
    const order = decodeOrder(bytesOf(told.encoded));
    const hashes = hashesOf(order);
    same(hexOf(encodeOrder(order)), told.encoded, "encoding");
    for (const name of ["brief", "committee", "spec", "counted", "order"] as const) same(hexOf(hashes[name]), told[name], name);
    same(word(timesOf(order)), told.times, "times");
    same([word(laneWord(order)), word(laneWord(order, 0n))], [told.open_word, told.lane_word_empty], "lane words");
    same(jobIdOf(order), told.job_id, "job id");
  });
  yield await outcome("committee", () => {
    const told = vectors.committee as Told;
    const found = decodeCommittee(told.document ?? "");
    verifyCommittee(found);
    same([found.id, found.hash, hexOf(committeeDigest(found))], [told.id, told.hash, told.digest], "committee");
  });
  yield* refusals(vectors.refused, (encoded) => decodeOrder(bytesOf(encoded)));
};

const contracts: Suite = async function* (vectors) {
  yield await outcome("the contracts' own words", () => {
    const told = vectors as unknown as Told & { chain: number; token: Hex; consent: Hex };
    const found = decodeConsent(bytesOf(told.consent));
    const place = { chainId: told.chain, consentToken: told.token };
    same(hexOf(digestOf(consentDeed(place, found))), told.digest, "digest");
    same(consentId(place, found), told.id, "id");
  });
};

/** One thing that Python did, told with what came out of it: `expected`, or nothing where it was refused. */
interface Deeds {
  readonly name: string;
  readonly act: string;
  readonly given: never;
  readonly expected?: unknown;
}

interface Signed {
  readonly key: Hex;
  readonly place: Place;
  readonly fields: ConsentFields;
  readonly fieldsList: readonly ConsentFields[];
  readonly holders: readonly Hex[];
  readonly epoch: number;
  readonly header: Hex;
  readonly terms: Hex;
}

/** The digest, by us and by ox, and the signature, which recovers to the signer. */
async function signed({ key }: Signed, deed: Deed): Promise<Hex[]> {
  const signer = localSigner(new Account(bytesOf(key)));
  const digest = hexOf(digestOf(deed));
  same(byOx(deed), digest, "ox's digest");
  const signature = await signer.signDeed(deed);
  same(recover(bytesOf(digest), signature), signer.address, "signer");
  return [digest, signature];
}

const ownerOf = ({ key }: Signed): Hex => new Account(bytesOf(key)).address;

const ACTS: Readonly<Record<string, (given: never) => unknown>> = {
  consent: async (given: Signed) => {
    const found = readConsentFields(given.fields);
    const holder = given.holders[0] ?? found.grantee;
    const id = consentId(given.place, found, holder);
    return [hexOf(encodeConsent(found)), id, ...(await signed(given, consentDeed(given.place, found)))];
  },
  register: (given: Signed) =>
    signed(given, registerDeed(given.place, ownerOf(given), sha256(bytesOf(given.header)), given.terms)),
  asset: (given: Signed) => assetOf(ownerOf(given), sha256(bytesOf(given.header))),
  revoke: async (given: Signed) => {
    const tokens = given.fieldsList.map((fields, at) => [readConsentFields(fields), given.holders[at] ?? "0x"] as const);
    const made = revokeTokens(given.place, ownerOf(given), tokens);
    return Promise.all(made.map(({ deed }) => signed(given, deed)));
  },
  revoke_nonces: async (given: Signed) => {
    const made = revokeNonces(given.place, ownerOf(given), given.fieldsList.map(readConsentFields));
    return Promise.all(
      made.map(async ({ deed, body }) => [body.kind === "revoke_nonces" ? [body.word, body.mask] : [], await signed(given, deed)]),
    );
  },
  revoke_all: (given: Signed) => signed(given, revokeAll(given.place, ownerOf(given), given.epoch).deed),
  decode_consent: (given: Hex) => hexOf(encodeConsent(decodeConsent(bytesOf(given)))),
  decode_order: (given: Hex) => hexOf(encodeOrder(decodeOrder(bytesOf(given)))),
  decode_tree: (given: Hex) => {
    const tree = SumTree.decode(bytesOf(given));
    return [hexOf(tree.encode()), word(tree.root)];
  },
  decode_terms: (given: Hex) => {
    const found = decodeTerms(bytesOf(given));
    return [hexOf(encodeTerms(found)), termsHash(found)];
  },
  decode_recipe: (given: Hex) => decodeRecipe(bytesOf(given)).hash,
  decode_committee: (given: Hex) => {
    const found = decodeCommittee(bytesOf(given));
    verifyCommittee(found);
    return [found.id, found.hash];
  },
  json: (given: Hex) => hexOf(encodeJson(decodeJson(bytesOf(given), 1 << 20) as Json)),
  encode_json: (given: string) => hexOf(encodeJson(JSON.parse(given) as Json)),
  quote: (given: { terms: Hex; recipe: Hex; records: string }) => {
    const [found, recipe] = [decodeTerms(bytesOf(given.terms)), decodeRecipe(bytesOf(given.recipe))];
    return [allows(found, recipe), quote(found, recipe, BigInt(given.records)).toString()];
  },
  price: (given: { flat: string; rate: string; records: string }) =>
    priceOf({ flat: BigInt(given.flat), perRecordEpoch: BigInt(given.rate) }, BigInt(given.records)).toString(),
  write_units: ([units, decimals]: [string, number]) => [writeUnits(units, decimals), unitDecimals(decimals)],
  parse_units: ([text, decimals]: [string, number]) => parseUnits(text, decimals).toString(),
  read_address: (given: string) => readAddress(given),
  write_address: (given: Hex) => writeAddress(given),
  recover: ([digest, signature]: [Hex, Hex]) => recover(bytesOf(digest), signature),
  sign_text: ([key, text]: [Hex, string]) => localSigner(new Account(bytesOf(key))).signText(text),
  account: (given: Hex) => new Account(bytesOf(given)).address,
};

/** What Python made of random values; both sides accept, make and refuse the same. */
const differential: Suite = async function* (vectors) {
  yield* eachOf(vectors.cases, async ({ act, given, expected }: Deeds) => {
    const run = ACTS[act];
    if (run === undefined) throw new Error(`There is no act ${act}.`);
    if (expected === undefined) await refused(async () => run(given), "invalid-input", "corrupted");
    else same(await run(given), expected, act);
  });
};

/** Sign-in messages, for the server's own reader: the text is the outcome's name. */
const signIn: Suite = async function* (vectors) {
  for (const given of vectors.cases as Parameters<typeof signInMessage>[0][]) {
    yield await outcome(signInMessage(given), () => undefined);
  }
};

export const DEEDS = { consent, terms, recipes, trees, orders, contracts, differential, signIn };
