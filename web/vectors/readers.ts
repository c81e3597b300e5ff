import { detect, readRecords } from "../src/readers/index.ts";
import { outcome, same } from "./checking.ts";
import type { Outcome, Vectors } from "./suites.ts";

interface Told {
  readonly place: string;
  readonly kind: string;
}

interface Case {
  readonly name: string;
  readonly utf8?: string;
  readonly bytes?: string;
  /** Hex and how often it stands there, for files too large to write down. */
  readonly parts?: readonly (readonly [string, number])[];
  readonly media_type: string;
  readonly records: readonly Told[];
  readonly steps?: readonly number[];
}

function bytesOf(hex: string): Uint8Array {
  const digits = hex.startsWith("0x") ? hex.slice(2) : hex;
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) => Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16));
}

function* fileOf(told: Case): Generator<Uint8Array> {
  if (told.utf8 !== undefined) yield new TextEncoder().encode(told.utf8);
  if (told.bytes !== undefined) yield bytesOf(told.bytes);
  for (const [hex, times] of told.parts ?? []) {
    const part = bytesOf(hex);
    const many = Math.max(1, Math.floor((1 << 16) / part.length));
    const filled = new Uint8Array(part.length * Math.min(many, times));
    for (let at = 0; at < filled.length; at += part.length) filled.set(part, at);
    for (let left = times; left > 0; left -= many) yield filled.subarray(0, part.length * Math.min(many, left));
  }
}

function* inSteps(pieces: Iterable<Uint8Array>, step: number): Generator<Uint8Array> {
  for (const piece of pieces) for (let at = 0; at < piece.length; at += step) yield piece.slice(at, at + step);
}

function headOf(pieces: Iterable<Uint8Array>): Uint8Array {
  const head: number[] = [];
  for (const piece of pieces) {
    for (const byte of piece) head.push(byte);
    if (head.length > 1 << 16) break;
  }
  return Uint8Array.from(head);
}

/** Only what the vector tells is compared: vectors by hand tell no index and no reason. */
function subset(found: object, told: object): object {
  return Object.fromEntries(Object.entries(found).filter(([name]) => name in told));
}

function sorted(value: object): string {
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function compare(told: Case): Promise<string | null> {
  const type = detect(headOf(fileOf(told)));
  if (type !== told.media_type) return `It is taken for ${type}.`;
  for (const step of told.steps ?? [1, 7, 1 << 16]) {
    let at = 0;
    for await (const found of readRecords("", null, inSteps(fileOf(told), step))) {
      const expected = told.records[at++];
      if (expected === undefined) return `step ${step}: more than ${at - 1} records`;
      const [ours, theirs] = [sorted(subset(found, expected)), sorted(expected)];
      if (ours !== theirs) return `step ${step}, number ${at}: ${ours.slice(0, 500)} instead of ${theirs.slice(0, 500)}`;
    }
    if (at !== told.records.length) return `step ${step}: ${at} records instead of ${told.records.length}`;
  }
  return null;
}

export async function* readers(vectors: Vectors): AsyncGenerator<Outcome> {
  for (const told of vectors.cases as Case[]) yield { name: told.name, error: await compare(told) };
}

/** Files without end: records come while they are read, and no reader takes in more than it must. */
export async function* streams(): AsyncGenerator<Outcome> {
  for (const [name, start, unit, recordsPerUnit] of [
    ["lines", "", '{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}\n', 1],
    ["values", "[", '{"text": "one of many"},', 1],
    ["prose", "", "A paragraph of the long book that nobody has read to its end, as it has none.\n\n", 1 / 60],
    ["one line", "", "A sentence of a line that never ends. ", 1 / 150],
    ["one fence", "```\n", "code\n\n", 1 / 900],
  ] as const) {
    yield await outcome(name, async () => {
      let pulled = 0;
      let closed = false;
      function* endless(): Generator<Uint8Array> {
        try {
          yield new TextEncoder().encode(start);
          const piece = new TextEncoder().encode(unit.repeat(100));
          for (;;) {
            pulled += piece.length;
            yield piece;
          }
        } finally {
          closed = true;
        }
      }
      let records = 0;
      for await (const item of readRecords("", null, endless())) {
        same(item.kind === "broken", false, "broken");
        // A detected head, a run and a piece may be ahead of the record that is given out.
        const given = (records * unit.length) / recordsPerUnit;
        same(pulled - given < 4 * (1 << 16) + given / 2, true, `bytes ahead of record ${records}`);
        if (++records === 500) break;
      }
      same([records, closed], [500, true], "records");
    });
  }
}

/** Every character's class, for a comparison with Python's: white space, lower case, digit. */
export function* characters(): Generator<Outcome> {
  for (const [name, pattern] of [
    ["lower", /\p{Lowercase}/u],
    ["digit", /\p{Nd}/u],
  ] as const) {
    const found: number[] = [];
    for (let code = 0; code < 0x110000; code++) if (pattern.test(String.fromCodePoint(code))) found.push(code);
    yield { name, error: JSON.stringify(found) };
  }
}
