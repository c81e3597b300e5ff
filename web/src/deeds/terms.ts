/**
 * The terms: an owner's licence for one dataset, shaped as an ODRL 2.2 Offer with DPV purposes; quote and allows.
 *
 * One canonical JSON form (RFC 8785) for one meaning, salted so that its hash on chain reveals nothing. Prices are UNITs.
 */

import { equal, random, type Bytes } from "../vault/bytes.ts";
import { InvalidInput } from "../vault/errors.ts";
import { decodeJson, encodeJson, type Json } from "./canonical.ts";
import {
  bigInteger, compareText, exactList, exactMap, hexOctets, hexOf, integer, isSortedSet, NOBODY, UINT16_MAX, UINT64_MAX,
  type Hex,
} from "./fields.ts";
import { sha256 } from "./hashes.ts";
import { purposeOf, purposeOfHash, purposeOfTerm } from "./purposes.ts";
import { MAX_EPOCHS, type Recipe } from "./recipe.ts";

const PROFILE = "urn:allod:terms:1";
const CONTEXT = ["http://www.w3.org/ns/odrl.jsonld", { allod: "urn:allod:terms:1#", dpv: "https://w3id.org/dpv#" }];
const LIMIT = 64 << 10;
const LAST_SECOND = 253402300799; // the end of the year 9999, the last that xsd:dateTime's four digits write
const MAX_PRICE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * One licence. `purposes` are codes, `baseModels` the hashes of the models that may be tuned (null = any), `maxUses` 0 =
 * unlimited, `runner` nobody = any, `committee` = keccak(q, keeper addresses), `expiry` Unix seconds.
 */
export interface Terms {
  readonly purposes: readonly string[];
  readonly baseModels: readonly Hex[] | null;
  readonly maxEpochs: number;
  readonly maxUses: number;
  readonly flat: bigint;
  readonly perRecordEpoch: bigint;
  readonly payee: Hex;
  readonly expiry: number;
  readonly runner: Hex;
  readonly committee: Hex;
  readonly salt: Hex;
}

/** The same terms, or `InvalidInput` if they are malformed. */
export function checkTerms(terms: Terms): Terms {
  const { purposes, baseModels } = terms;
  if (purposes.length < 1 || purposes.length > 16) throw new InvalidInput("Terms name at least one purpose and at most 16.");
  if (!isSortedSet(purposes.map((code) => purposeOf(code).term))) {
    throw new InvalidInput("The purposes of terms are named once, sorted by their DPV term.");
  }
  if (baseModels !== null) {
    if (baseModels.length < 1 || baseModels.length > 64) throw new InvalidInput("Terms name 1 to 64 base models, or any.");
    for (const model of baseModels) hexOctets(model, "A base model's hash", 32);
    if (!isSortedSet(baseModels)) throw new InvalidInput("The base models of terms are sorted and named once.");
  }
  integer(terms.maxEpochs, "The terms' max_epochs", MAX_EPOCHS, 1);
  integer(terms.maxUses, "The terms' max_uses", UINT16_MAX);
  bigInteger(terms.flat, "The terms' flat price", MAX_PRICE);
  bigInteger(terms.perRecordEpoch, "The terms' price per record and epoch", MAX_PRICE);
  hexOctets(terms.payee, "The terms' payee", 20);
  integer(terms.expiry, "The terms' expiry", LAST_SECOND, 1);
  hexOctets(terms.runner, "The terms' runner", 20);
  hexOctets(terms.committee, "The terms' committee", 32);
  hexOctets(terms.salt, "The terms' salt", 32);
  if (terms.payee === NOBODY) throw new InvalidInput("Terms name who is paid.");
  return terms;
}

type Choices = Pick<Terms, "purposes" | "payee" | "committee" | "expiry"> & Partial<Omit<Terms, "salt">>;

/** New terms with a fresh salt; lists may come in any order. */
export function writeTerms(choices: Choices): Terms {
  const { baseModels } = choices;
  return checkTerms({
    maxEpochs: 1,
    maxUses: 0,
    flat: 0n,
    perRecordEpoch: 0n,
    runner: NOBODY,
    ...choices,
    purposes: [...new Set(choices.purposes)].sort((a, b) => compareText(purposeOf(a).term, purposeOf(b).term)),
    baseModels: baseModels === undefined || baseModels === null ? null : [...new Set(baseModels)].sort(),
    salt: hexOf(random(32)),
  });
}

function limit(leftOperand: string, operator: string, rightOperand: Json): Json {
  return { leftOperand, operator, rightOperand };
}

/** The terms as JSON values: an ODRL Offer whose constraints stand in a fixed order. */
function documentOf(terms: Terms): Json {
  const constraint = [
    limit("purpose", "isAnyOf", terms.purposes.map((code) => `dpv:${purposeOf(code).term}`)),
    limit("allod:maxEpochs", "lteq", terms.maxEpochs),
    limit("dateTime", "lt", { "@type": "xsd:dateTime", "@value": writeTime(terms.expiry) }),
    limit("allod:committee", "eq", terms.committee),
  ];
  if (terms.baseModels !== null) constraint.push(limit("allod:baseModel", "isAnyOf", terms.baseModels));
  if (terms.maxUses > 0) constraint.push(limit("count", "lteq", terms.maxUses));
  if (terms.runner !== NOBODY) constraint.push(limit("allod:runner", "eq", terms.runner));
  const duty = {
    action: "compensate",
    compensatedParty: `urn:allod:account:${terms.payee}`,
    constraint: [
      limit("allod:flat", "eq", Number(terms.flat)),
      limit("allod:perRecordEpoch", "eq", Number(terms.perRecordEpoch)),
    ],
  };
  return {
    "@context": CONTEXT,
    "@type": "Offer",
    profile: PROFILE,
    uid: `urn:allod:terms:${terms.salt}`,
    permission: [{ action: "allod:fineTune", constraint, duty: [duty] }],
  };
}

/** The canonical JSON bytes. */
export function encodeTerms(terms: Terms): Bytes {
  return encodeJson(documentOf(checkTerms(terms)));
}

/** What consents and the registry carry: sha256 of the canonical bytes. */
export function termsHash(terms: Terms): Hex {
  return hexOf(sha256(encodeTerms(terms)));
}

/** Parse exactly what `encodeTerms` writes, else `InvalidInput`. */
export function decodeTerms(data: Uint8Array): Terms {
  const fields = exactMap(decodeJson(data, LIMIT), ["@context", "@type", "profile", "uid", "permission"], "The terms");
  if (fields.profile !== PROFILE) throw new InvalidInput("These terms follow a profile that is not known here.");
  const [only] = exactList(fields.permission, "The terms' permission", 1, 1);
  const permission = exactMap(only, ["action", "constraint", "duty"], "The terms' permission");
  const limits = readLimits(permission.constraint);
  const [due] = exactList(permission.duty, "The terms' duty", 1, 1);
  const duty = exactMap(due, ["action", "compensatedParty", "constraint"], "The terms' duty");
  const price = readLimits(duty.constraint);
  const models = limits.get("allod:baseModel");
  const terms = checkTerms({
    purposes: exactList(limits.get("purpose"), "The purposes", 16, 1).map(readPurpose),
    baseModels:
      models === undefined
        ? null
        : exactList(models, "The base models", 64, 1).map((item) => hexOctets(item, "A base model's hash", 32)),
    maxEpochs: integer(limits.get("allod:maxEpochs"), "The terms' max_epochs", MAX_EPOCHS),
    maxUses: integer(limits.get("count") ?? 0, "The terms' max_uses", UINT16_MAX),
    flat: bigInteger(price.get("allod:flat"), "The terms' flat price", MAX_PRICE),
    perRecordEpoch: bigInteger(price.get("allod:perRecordEpoch"), "The terms' price per record and epoch", MAX_PRICE),
    payee: readUrn(duty.compensatedParty, "urn:allod:account:", 20),
    expiry: readTime(limits.get("dateTime")),
    runner: limits.has("allod:runner") ? hexOctets(limits.get("allod:runner"), "The terms' runner", 20) : NOBODY,
    committee: hexOctets(limits.get("allod:committee"), "The terms' committee", 32),
    salt: readUrn(fields.uid, "urn:allod:terms:", 32),
  });
  // Anything that the fields above do not carry (an operator, an extra constraint, their order) shows here.
  if (!equal(encodeTerms(terms), data)) throw new InvalidInput("The terms hold something that Allod's terms do not have.");
  return terms;
}

function readLimits(value: unknown): Map<string, unknown> {
  const out = new Map<string, unknown>();
  for (const item of exactList(value, "A list of constraints", 16)) {
    const { leftOperand, rightOperand } = exactMap(item, ["leftOperand", "operator", "rightOperand"], "A constraint");
    if (typeof leftOperand !== "string" || out.has(leftOperand)) throw new InvalidInput("A constraint has no name of its own.");
    out.set(leftOperand, rightOperand);
  }
  return out;
}

function readPurpose(value: unknown): string {
  if (typeof value !== "string" || !value.startsWith("dpv:")) throw new InvalidInput("A purpose is not a DPV term.");
  return purposeOfTerm(value.slice(4)).code;
}

function readUrn(value: unknown, prefix: string, length: number): Hex {
  if (typeof value !== "string" || !value.startsWith(prefix)) {
    throw new InvalidInput(`The terms lack a name that starts with ${prefix}`);
  }
  return hexOctets(value.slice(prefix.length), "The name in the terms", length);
}

function writeTime(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}

function readTime(value: unknown): number {
  const fields = exactMap(value, ["@type", "@value"], "The terms' dateTime");
  const told = fields["@value"];
  const isTime = typeof told === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(told);
  const seconds = isTime ? Date.parse(told) / 1000 : Number.NaN;
  if (!Number.isSafeInteger(seconds)) throw new InvalidInput("The terms' dateTime is not a UTC time.");
  return seconds;
}

/** What is owed once `recordEpochs` of this dataset's records were trained on, in UNITs (uint64). */
export function priceOf(terms: Pick<Terms, "flat" | "perRecordEpoch">, recordEpochs: bigint): bigint {
  bigInteger(recordEpochs, "The record-epochs", UINT64_MAX);
  const units = terms.flat + terms.perRecordEpoch * recordEpochs;
  if (units > UINT64_MAX) {
    throw new InvalidInput("The price does not fit into 64 bits.", "Fewer epochs or records, or other terms.");
  }
  return units;
}

/** What a job with this recipe pays for a dataset of so many records, in UNITs: flat + rate × records × epochs. */
export function quote(terms: Terms, recipe: Pick<Recipe, "epochs">, records: bigint | number): bigint {
  return priceOf(terms, bigInteger(records, "The count of records", UINT64_MAX) * BigInt(recipe.epochs));
}

/** Why these terms do not allow this recipe, one sentence each; empty when they do. */
export function allows(terms: Terms, recipe: Pick<Recipe, "purpose" | "baseHash" | "epochs">): string[] {
  const reasons: string[] = [];
  const wanted = purposeOfHash(recipe.purpose);
  if (wanted === null) reasons.push("The recipe's purpose is not on the public list.");
  else if (!terms.purposes.includes(wanted.code)) reasons.push(`The terms do not allow the purpose '${wanted.code}'.`);
  if (terms.baseModels !== null && !terms.baseModels.includes(recipe.baseHash)) {
    reasons.push("The terms do not allow this base model.");
  }
  if (recipe.epochs > terms.maxEpochs) {
    reasons.push(`The recipe runs ${recipe.epochs} epochs; the terms allow ${terms.maxEpochs}.`);
  }
  return reasons;
}
