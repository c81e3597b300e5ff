/**
 * The public card of a dataset: what a trainer sees before any consent. It holds no word of a file.
 */

import { utf8 } from "../vault/bytes.ts";
import { encodeCbor } from "../vault/cbor.ts";
import { InvalidInput } from "../vault/errors.ts";
import { text } from "./fields.ts";

export const MAX_TITLE = 200;
export const MAX_DESCRIPTION = 4000;
export const MAX_SAMPLE = 4096;
export const MAX_SCHEMA = 64;
export const MAX_ENTRY = 200;
const MAX_CARD = 256 << 10;
const PAGES = 8 << 10; // bytes that the links to a dataset's pages may take in the card's block

export interface Card {
  readonly title: string;
  readonly description: string;
  readonly schema: readonly string[];
  readonly sample: string;
}

/** The same card, or `InvalidInput` if it cannot be published. */
export function checkCard(card: Card): Card {
  if (card.title.trim() === "") throw new InvalidInput("The card has no title.", "Give the dataset a title.");
  text(card.title, "The card's title", MAX_TITLE);
  text(card.description, "The card's description", MAX_DESCRIPTION, 0);
  text(card.sample, "The card's sample", MAX_SAMPLE, 0);
  if (card.schema.length > MAX_SCHEMA) throw new InvalidInput(`The card's schema has more than ${MAX_SCHEMA} lines.`);
  for (const line of card.schema) text(line, "A line of the card's schema", MAX_ENTRY);
  for (const part of [card.title, card.description, card.sample, ...card.schema]) utf8(part); // no half characters
  const { title, description, schema, sample } = card;
  const size = encodeCbor({ title, description, schema, sample }).length + PAGES;
  if (size > MAX_CARD) throw new InvalidInput(`The card has ${size} bytes; at most ${MAX_CARD} are published.`, "Shorten it.");
  return card;
}
