/**
 * The public card of a dataset: what a trainer sees before any consent. It holds no word of a file.
 *
 * Schema and counts come from the records' shapes alone; the mock sample suggested here is made of placeholders, and
 * what the owner types instead is the owner's.
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

/** What the readers give; `web/src/readers` has the full types. */
type Item =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly { readonly role: string; readonly content: string }[] }
  | { readonly kind: "broken" };

interface Size {
  count: number;
  characters: number;
}

/** The shape of a dataset's records, gathered as they are read: counts and lengths, never a word. */
export class Shape {
  records = 0;
  broken = 0;
  readonly #texts: Size = { count: 0, characters: 0 };
  readonly #chats = new Map<string, Size>(); // by their roles in order, neighbours and repetitions aside

  add(item: Item): void {
    if (item.kind === "broken") {
      this.broken++;
      return;
    }
    this.records++;
    if (item.kind === "text") {
      this.#texts.count++;
      this.#texts.characters += item.text.length;
      return;
    }
    const roles = item.messages.map(({ role }) => role).filter((role, at, all) => all.indexOf(role) === at).join(", ");
    const size = this.#chats.get(roles) ?? { count: 0, characters: 0 };
    size.count++;
    size.characters += item.messages.reduce((sum, { content }) => sum + content.length, 0);
    this.#chats.set(roles, size);
  }

  /** One line for each kind of record, the commonest first. */
  schema(): string[] {
    const lines = [...this.#chats].map(([roles, size]) => ({ ...size, line: `chat (${roles})` }));
    if (this.#texts.count > 0) lines.push({ ...this.#texts, line: "text" });
    lines.sort((a, b) => b.count - a.count || (a.line < b.line ? -1 : 1));
    return lines.slice(0, MAX_SCHEMA).map(({ line, count, characters }) => `${line}: ${count} records of about ${rounded(characters / count)} characters`);
  }

  /** A sample in the shape of the commonest records, of placeholders only. */
  sample(): string {
    const [commonest] = [...this.#chats].sort(([, a], [, b]) => b.count - a.count);
    if (commonest === undefined || commonest[1].count < this.#texts.count) {
      return this.#texts.count > 0 ? "A made-up text in the style of these records." : "";
    }
    return commonest[0].split(", ").map((role) => `${role}: ${PLACEHOLDERS[role] ?? ""}`).join("\n");
  }
}

const PLACEHOLDERS: Readonly<Record<string, string>> = {
  system: "A made-up instruction.",
  user: "A made-up question, as somebody might ask it here.",
  assistant: "A made-up answer, as it might be given here.",
};

/** One significant digit: an exact length may tell which file it is. */
function rounded(value: number): number {
  if (value < 10) return 10;
  const unit = 10 ** Math.floor(Math.log10(value));
  return Math.round(value / unit) * unit;
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
