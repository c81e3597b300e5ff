/**
 * Plain text and Markdown as records of at most 4 KiB, whole where possible.
 *
 * A file is a row of blocks: paragraphs parted by blank lines, a fenced code block being one. Blocks are joined into a
 * record until the next one no longer fits; then the record ends at its last heading if it has one further on, else
 * here. So a short file is one record and a long one falls apart at headings and paragraphs. A block of three or more
 * lines that are sentences of their own (a note a line) gives one record a line.
 */

import { isBlank, isSpace, SPACE, trim, trimEnd, utf8Length } from "./characters.ts";
import { broken, draft, type BrokenPlace, type Draft, type Reader } from "./record.ts";
import { Lines, type Line } from "./source.ts";

export const RECORD = 4 << 10; // UTF-8 bytes of one record at most
const BLOCK = 64 << 10; // a longer paragraph is taken apart where it reaches this

const GAP = 2; // bytes of the blank line between blocks
const HEADING = new RegExp(`^#{1,6}[${SPACE}]`);
const FENCE = new RegExp(`^[${SPACE}]*(\`\`\`|~~~)`);
// How lines begin that belong to those around them.
const MARKUP = new RegExp(`^(?:[#>|\`~${SPACE}]|[-*+][${SPACE}]|\\p{Nd}+[.)][${SPACE}])`, "u");
const LOWER = /^\p{Lowercase}/u;
const SENTENCE_ENDS = ".!?…。！？";
const CLOSERS = "\"'”’»)]";
const BREAKS = ".!?…";

const encoder = new TextEncoder();
const room = new Uint8Array(RECORD);

interface Row {
  readonly number: number;
  readonly text: string;
}

/** A stretch of text with its lines, and its size in UTF-8 bytes. */
interface Block {
  readonly first: number;
  readonly last: number;
  readonly text: string;
  readonly size: number;
  readonly isHeading: boolean;
}

function block(first: number, last: number, text: string): Block {
  return { first, last, text, size: utf8Length(text), isHeading: HEADING.test(text) };
}

/** The records of a text; a line that is not UTF-8 text is broken and stands apart. */
export class TextReader implements Reader {
  readonly #lines = new Lines(BLOCK);
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #run: Row[] = [];
  #runSize = 0;
  #fence = "";
  #group: Block[] = [];
  #groupSize = 0;

  *feed(piece: Uint8Array): Generator<Draft | BrokenPlace> {
    for (const line of this.#lines.feed(piece)) yield* this.#line(line);
  }

  *finish(): Generator<Draft | BrokenPlace> {
    for (const line of this.#lines.finish()) yield* this.#line(line);
    yield* this.#endRun();
    yield* this.#endGroup();
  }

  /** Runs are lines without a blank one between them, outside of fenced code. */
  *#line({ number, bytes }: Line): Generator<Draft | BrokenPlace> {
    const text = this.#decoded(bytes);
    if (text === null) {
      yield* this.#endRun();
      this.#fence = "";
      yield* this.#endGroup();
      yield broken(`line ${number}`, "The line is not UTF-8 text.");
      return;
    }
    const mark = FENCE.exec(text)?.[1];
    if (mark !== undefined) {
      if (this.#fence === "") this.#fence = mark;
      else if (mark === this.#fence) this.#fence = "";
    }
    const blank = isBlank(text);
    const fenced = this.#fence !== "";
    if ((blank && !fenced) || this.#runSize + bytes.length > BLOCK) yield* this.#endRun();
    if (!blank || (fenced && this.#run.length > 0)) {
      this.#run.push({ number, text });
      this.#runSize += bytes.length + 1;
    }
  }

  #decoded(bytes: Uint8Array): string | null {
    if (bytes.includes(0)) return null;
    try {
      return this.#decoder.decode(bytes);
    } catch {
      return null;
    }
  }

  *#endRun(): Generator<Draft> {
    const run = this.#run;
    if (run.length === 0) return;
    this.#run = [];
    this.#runSize = 0;
    if (isListOfNotes(run)) {
      yield* this.#endGroup();
      for (const { number, text } of run) {
        for (const part of cut(block(number, number, trim(text)))) yield drafted([part]);
      }
      return;
    }
    for (const part of blocksOf(run)) {
      this.#group.push(part);
      this.#groupSize += part.size + GAP;
      while (this.#groupSize - GAP > RECORD) {
        const at = endOfRecord(this.#group);
        yield drafted(this.#group.slice(0, at));
        this.#group = this.#group.slice(at);
        this.#groupSize = this.#group.reduce((size, kept) => size + kept.size + GAP, 0);
      }
    }
  }

  *#endGroup(): Generator<Draft> {
    if (this.#group.length > 0) yield drafted(this.#group);
    this.#group = [];
    this.#groupSize = 0;
  }
}

/** Whether nine in ten lines are sentences of their own and none is markup: wrapped prose is neither. */
function isListOfNotes(run: readonly Row[]): boolean {
  if (run.length < 3 || run.some(({ text }) => MARKUP.test(text) || LOWER.test(text))) return false;
  const ended = run.filter(({ text }) => isSentence(trimEnd(text))).length;
  return ended * 10 >= run.length * 9;
}

function isSentence(text: string): boolean {
  let end = text.length;
  while (end > 0 && CLOSERS.includes(text.charAt(end - 1))) end--;
  return end > 0 && SENTENCE_ENDS.includes(text.charAt(end - 1));
}

/** A run as blocks that fit a record: headings apart from what stands right under them, long runs cut. */
function* blocksOf(run: readonly Row[]): Generator<Block> {
  let part: Row[] = [];
  let fenced = false;
  for (const row of run) {
    if (part.length > 0 && !fenced && HEADING.test(row.text)) {
      yield* cut(together(part));
      part = [];
    }
    if (FENCE.test(row.text)) fenced = !fenced;
    part.push(row);
  }
  yield* cut(together(part));
}

function together(part: readonly Row[]): Block {
  const text = part.map((row) => trimEnd(row.text)).join("\n");
  return block(part[0]?.number ?? 0, part.at(-1)?.number ?? 0, text);
}

/** The block in pieces of at most 4 KiB: at line ends, else behind sentences, else at spaces, else anywhere. */
function* cut(whole: Block): Generator<Block> {
  if (whole.size <= RECORD) {
    yield whole;
    return;
  }
  let number = whole.first;
  let start = whole.first;
  let text = "";
  let size = 0;
  for (const row of whole.text.split("\n")) {
    const rowSize = utf8Length(row);
    const joinedSize = text === "" ? rowSize : size + 1 + rowSize;
    if (joinedSize <= RECORD) {
      text = text === "" ? row : `${text}\n${row}`;
      size = joinedSize;
    } else {
      if (!isBlank(text)) yield block(start, number - 1, text);
      start = number;
      text = row;
      while (utf8Length(text) > RECORD) {
        const [head, rest] = split(text);
        yield block(number, number, head);
        text = rest;
      }
      size = utf8Length(text);
    }
    number++;
  }
  if (!isBlank(text)) yield block(start, whole.last, text);
}

/** The longest good beginning of at most 4 KiB, and the rest. */
function split(text: string): [string, string] {
  const fits = text.slice(0, encoder.encodeInto(text, room).read);
  const half = Math.floor(Array.from(fits).length / 2); // in characters, of which some are two units here
  let best: { start: number; end: number; isSentence: boolean } | null = null;
  for (let at = 0, characters = 0; at < fits.length; ) {
    if (!isSpace(fits.charCodeAt(at))) {
      at += (fits.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
      characters++;
      continue;
    }
    const start = at;
    while (at < fits.length && isSpace(fits.charCodeAt(at))) at++;
    const isSentence = start > 0 && BREAKS.includes(fits.charAt(start - 1));
    if (characters > half && (isSentence || best?.isSentence !== true)) best = { start, end: at, isSentence };
    characters += at - start;
  }
  return best === null ? [fits, text.slice(fits.length)] : [fits.slice(0, best.start), text.slice(best.end)];
}

/** How many blocks of a group that is one block too long make a record. */
function endOfRecord(group: readonly Block[]): number {
  for (let at = group.length - 1; at > 0; at--) {
    if (group[at]?.isHeading === true && group[at - 1]?.isHeading === false) return at;
  }
  return group.length - 1;
}

function drafted(blocks: readonly Block[]): Draft {
  const [first, last] = [blocks[0]?.first ?? 0, blocks.at(-1)?.last ?? 0];
  const place = first === last ? `line ${first}` : `lines ${first}–${last}`;
  return draft(place, blocks.map(({ text }) => text).join("\n\n"));
}
