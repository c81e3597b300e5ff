/**
 * What a reader yields: records to learn from, and notes on places that cannot be read.
 *
 * A reason never quotes the file: it may be shown, logged and sent where the file's text must not go.
 */

export const ROLES = ["system", "user", "assistant"] as const;
export type Role = (typeof ROLES)[number];

/** One turn of a chat. */
export interface Message {
  readonly role: Role;
  readonly content: string;
}

/** One unit of training. `index` counts the file's records from 0; `place` says where in the file it stands. */
export type TrainingRecord =
  | { readonly kind: "text"; readonly text: string; readonly place: string; readonly index: number }
  | { readonly kind: "chat"; readonly messages: readonly Message[]; readonly place: string; readonly index: number };

/** A place that cannot be read, and why. What follows it is read all the same. */
export interface BrokenPlace {
  readonly kind: "broken";
  readonly place: string;
  readonly reason: string;
}

/** A record before it has its number. */
export interface Draft {
  readonly kind: "draft";
  readonly place: string;
  readonly content: string | readonly Message[];
}

/** What turns the bytes of one format, piece by piece, into drafts. */
export interface Reader {
  feed(piece: Uint8Array): Iterable<Draft | BrokenPlace>;
  finish(): Iterable<Draft | BrokenPlace>;
}

export function broken(place: string, reason: string): BrokenPlace {
  return { kind: "broken", place, reason };
}

export function draft(place: string, content: string | readonly Message[]): Draft {
  return { kind: "draft", place, content };
}

/** The draft with its number. */
export function numbered({ place, content }: Draft, index: number): TrainingRecord {
  return typeof content === "string"
    ? { kind: "text", text: content, place, index }
    : { kind: "chat", messages: content, place, index };
}

/** Neighbouring messages of one role as one: templates expect turns to alternate. */
export function merged(messages: readonly Message[]): Message[] {
  const out: Message[] = [];
  for (const message of messages) {
    const last = out.at(-1);
    if (last?.role === message.role) {
      out[out.length - 1] = { role: message.role, content: `${last.content}\n\n${message.content}` };
    } else {
      out.push(message);
    }
  }
  return out;
}
