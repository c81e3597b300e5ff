/**
 * Chats and texts out of JSON: training lines (`messages`, `prompt`/`completion`, `text`), ChatGPT conversations.
 *
 * A chat is worth training on if an assistant answers in it. Of a ChatGPT conversation, a tree of edits and
 * regenerations, only the branch that the owner ended on is read: from `current_node` up to the root.
 */

import { isAsciiSpace, isBlank, utf8Length, whole } from "./characters.ts";
import { depth, MAX_DEPTH, MAX_OBJECT, Objects } from "./jsonvalues.ts";
import { broken, draft, merged, ROLES, type BrokenPlace, type Draft, type Message, type Reader, type Role } from "./record.ts";
import { Lines, type Line } from "./source.ts";

export const MAX_LINE = 16 << 20;
const MAX_TEXT = 1 << 20; // UTF-8 bytes of one record: more is no example to learn from, but a library
const MAX_MESSAGES = 2000;
// What a parser builds of a bracket or a comma takes up to a hundred times its place.
const MAX_BRACKETS = 1 << 18;
const MAX_COMMAS = 1 << 20;

const NOT_JSON = "It is not valid JSON.";

/** Why one value is no record; the text goes into a broken place. */
class Unreadable extends Error {}

type Members = Readonly<Record<string, unknown>>;

/** JSON Lines: one record a line, blank lines aside. */
export class LineReader implements Reader {
  readonly #lines = new Lines(MAX_LINE);
  #skipping = 0;

  *feed(piece: Uint8Array): Generator<Draft | BrokenPlace> {
    for (const line of this.#lines.feed(piece)) yield* this.#read(line);
  }

  *finish(): Generator<Draft | BrokenPlace> {
    for (const line of this.#lines.finish()) yield* this.#read(line);
  }

  *#read({ number, bytes, whole: ended }: Line): Generator<Draft | BrokenPlace> {
    if (number === this.#skipping) return;
    const place = `line ${number}`;
    if (!ended) {
      this.#skipping = number;
      yield broken(place, `The line is longer than ${MAX_LINE >> 20} MiB.`);
    } else if (!bytes.every(isAsciiSpace)) {
      yield drafted(bytes, place);
    }
  }
}

/** A JSON array of conversations or chats (ChatGPT's `conversations.json`), or a single one. */
export class ValueReader implements Reader {
  readonly #objects = new Objects();
  #number = 0;

  *feed(piece: Uint8Array): Generator<Draft | BrokenPlace> {
    for (const value of this.#objects.feed(piece)) yield this.#read(value);
  }

  *finish(): Generator<Draft | BrokenPlace> {
    for (const value of this.#objects.finish()) yield this.#read(value);
  }

  #read(value: Uint8Array | null): Draft | BrokenPlace {
    const place = `conversation ${++this.#number}`;
    if (value !== null) return drafted(value, place);
    return broken(place, `It is cut short, nested too deep, or longer than ${MAX_OBJECT >> 20} MiB.`);
  }
}

function drafted(data: Uint8Array, place: string): Draft | BrokenPlace {
  let brackets = 0;
  let commas = 0;
  for (const byte of data) {
    if (byte === 0x7b || byte === 0x5b) brackets++;
    else if (byte === 0x2c) commas++;
  }
  if (brackets > MAX_BRACKETS || commas > MAX_COMMAS) {
    return broken(place, "It holds more values than a conversation has.");
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch {
    return broken(place, NOT_JSON);
  }
  if (brackets > MAX_DEPTH && depth(data) > MAX_DEPTH) return broken(place, NOT_JSON);
  try {
    return draft(place, contentOf(value));
  } catch (error) {
    if (error instanceof Unreadable) return broken(place, error.message);
    throw error;
  }
}

function membersOf(value: unknown): Members | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : null;
}

/** A member of the object's own: `constructor` and the like are names as any other. */
function own(members: Members, name: string): unknown {
  return Object.hasOwn(members, name) ? members[name] : undefined;
}

function contentOf(value: unknown): string | Message[] {
  const members = membersOf(value);
  if (members === null) throw new Unreadable("It is not a JSON object.");
  if (Object.hasOwn(members, "mapping")) return answered(merged(branch(members)));
  if (Object.hasOwn(members, "messages")) return answered(messagesOf(members.messages));
  if (Object.hasOwn(members, "prompt") && Object.hasOwn(members, "completion")) {
    const prompt = textOf(members.prompt);
    return answered([
      { role: "user", content: prompt },
      { role: "assistant", content: textOf(members.completion) },
    ]);
  }
  if (Object.hasOwn(members, "text")) {
    const text = textOf(members.text);
    if (isBlank(text)) throw new Unreadable("Its text is empty.");
    checkLength([text]);
    return text;
  }
  throw new Unreadable("It has none of messages, prompt and completion, text, or a conversation's mapping.");
}

function answered(messages: Message[]): Message[] {
  if (messages.length > MAX_MESSAGES) throw new Unreadable(`It has more than ${MAX_MESSAGES} messages.`);
  checkLength(messages.map((message) => message.content));
  if (!messages.some((message) => message.role === "assistant" && !isBlank(message.content))) {
    throw new Unreadable("The assistant says nothing in it, so there is nothing to learn.");
  }
  return messages;
}

function checkLength(texts: readonly string[]): void {
  if (texts.reduce((size, text) => size + utf8Length(text), 0) > MAX_TEXT) {
    throw new Unreadable(`It is longer than ${MAX_TEXT >> 20} MiB of text.`);
  }
}

function roleOf(value: unknown): Role | null {
  return ROLES.find((role) => role === value) ?? null;
}

function messagesOf(value: unknown): Message[] {
  if (!Array.isArray(value)) throw new Unreadable("Its messages are not a list.");
  return value.map((item: unknown, index) => {
    const members = membersOf(item);
    const role = members && roleOf(own(members, "role"));
    if (members === null || role === null) {
      throw new Unreadable(`Message ${index + 1} has a role other than ${ROLES.join(", ")}.`);
    }
    return { role, content: textOf(own(members, "content")) };
  });
}

/** A text, or the texts of a list of typed parts; anything else cannot be learned as it stands. */
function textOf(value: unknown): string {
  if (typeof value === "string") return whole(value);
  const parts = Array.isArray(value) ? value.map(membersOf) : [null];
  const texts = parts.map((part) => {
    if (part === null || own(part, "type") !== "text") throw new Unreadable("A message's content is not text.");
    const text = own(part, "text");
    return typeof text === "string" ? whole(text) : ""; // each by itself: two halves of two parts are no pair
  });
  return texts.join("");
}

/** The messages from the root to `current_node`. */
function branch(conversation: Members): Message[] {
  const mapping = membersOf(conversation.mapping);
  if (mapping === null || Object.keys(mapping).length === 0) throw new Unreadable("Its mapping is empty.");
  const messages: Message[] = [];
  const seen = new Set<string>();
  for (let id = end(conversation, mapping); id !== null && id !== undefined; ) {
    const node = typeof id === "string" ? membersOf(own(mapping, id)) : null;
    if (typeof id !== "string" || node === null || seen.has(id)) {
      throw new Unreadable("Its tree of messages has a hole or a loop.");
    }
    seen.add(id);
    const message = spoken(own(node, "message"));
    if (message !== null) messages.push(message);
    id = own(node, "parent");
  }
  return messages.reverse();
}

function end(conversation: Members, mapping: Members): unknown {
  const current = own(conversation, "current_node");
  if (current !== null && current !== undefined) return current;
  const parents = new Set<unknown>();
  for (const value of Object.values(mapping)) {
    const node = membersOf(value);
    if (node !== null) parents.add(own(node, "parent"));
  }
  const leaves = Object.keys(mapping).filter((id) => !parents.has(id));
  if (leaves.length !== 1) throw new Unreadable("It does not say which of its branches is the current one.");
  return leaves[0];
}

/** What was said in the open; null for tools, hidden system notes, images and empty turns. */
function spoken(value: unknown): Message | null {
  const message = membersOf(value);
  if (message === null) return null;
  const author = membersOf(own(message, "author"));
  const content = membersOf(own(message, "content"));
  const metadata = membersOf(own(message, "metadata"));
  const role = author && roleOf(own(author, "role"));
  const hidden = metadata !== null && own(metadata, "is_visually_hidden_from_conversation") === true;
  const recipient = own(message, "recipient") ?? "all";
  if (role === null || hidden || recipient !== "all" || content === null) return null;
  const type = own(content, "content_type");
  if (type !== "text" && type !== "multimodal_text") return null;
  const parts = own(content, "parts");
  const texts = Array.isArray(parts) ? parts.filter((part) => typeof part === "string") : [];
  const text = whole(texts.join("\n"));
  return isBlank(text) ? null : { role, content: text };
}
