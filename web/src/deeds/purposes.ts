/** The short, coarse, public list of purposes that a consent can name: entries of the W3C Data Privacy Vocabulary. */

import { InvalidInput } from "../vault/errors.ts";
import { hexOf, type Hex } from "./fields.ts";
import { keccak } from "./hashes.ts";

/** One entry: a code for people and commands, a label, the DPV term behind it, and keccak256 of the term's IRI. */
export interface Purpose {
  readonly code: string;
  readonly label: string;
  readonly term: string;
  readonly iri: string;
  readonly hash: Hex;
}

function entry(code: string, label: string, term: string): Purpose {
  const iri = `https://w3id.org/dpv#${term}`;
  return { code, label, term, iri, hash: hexOf(keccak(iri)) };
}

export const PURPOSES: readonly Purpose[] = [
  entry("academic-research", "Academic research", "AcademicResearch"),
  entry("non-commercial-research", "Non-commercial research", "NonCommercialResearch"),
  entry("commercial-research", "Commercial research", "CommercialResearch"),
  entry("service-provision", "Providing a service or product", "ServiceProvision"),
  entry("personalisation", "Personalising a service", "Personalisation"),
];

/** The purpose of this code, else `InvalidInput` that lists them. */
export function purposeOf(code: string): Purpose {
  const found = PURPOSES.find((purpose) => purpose.code === code);
  if (found !== undefined) return found;
  const codes = PURPOSES.map((purpose) => purpose.code).join(", ");
  throw new InvalidInput(`No purpose is called '${code.slice(0, 40)}'.`, `Choose one of: ${codes}.`);
}

/** The purpose of this DPV term, else `InvalidInput`. */
export function purposeOfTerm(term: string): Purpose {
  const found = PURPOSES.find((purpose) => purpose.term === term);
  if (found === undefined) throw new InvalidInput("The purpose is not on Allod's list.");
  return found;
}

/** The purpose that a consent's 32 bytes mean, or null if they mean none that is known here. */
export function purposeOfHash(hash: Hex): Purpose | null {
  return PURPOSES.find((purpose) => purpose.hash === hash) ?? null;
}

/** What people read for a code, which may come from anywhere. */
export function labelOf(code: string): string {
  return PURPOSES.find((purpose) => purpose.code === code)?.label ?? `“${code.slice(0, 40)}”, which is not on Allod's list`;
}
