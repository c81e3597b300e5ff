/**
 * JSON values out of a stream, one at a time, without holding the file.
 *
 * `Objects` finds where each object of a top-level array (or of a row of objects) ends by following brackets and
 * strings, so an object that does not parse, or is too large, costs that object only. Memory is bounded by the largest
 * one, and time by the file's size, however it is nested.
 */

import { joined } from "./source.ts";

export const MAX_OBJECT = 64 << 20;
export const MAX_DEPTH = 500; // open brackets; what is nested deeper is given up, and reading goes on inside of it

const [QUOTE, BACKSLASH, OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d];

/** The bytes of each object in turn; null for one too long or too deep, and for one the file cuts short. */
export class Objects {
  readonly #limit: number;
  #open: number[] = []; // the open brackets: empty between objects
  #inString = false;
  #escaped = false;
  #kept: Uint8Array[] = [];
  #size = 0;
  #tooLong = false;

  constructor(limit = MAX_OBJECT) {
    this.#limit = limit;
  }

  *feed(piece: Uint8Array): Generator<Uint8Array | null> {
    let start = 0; // where this piece's part of the current object begins
    for (let at = 0; at < piece.length; at++) {
      const mark = piece[at];
      if (this.#escaped) {
        this.#escaped = false;
      } else if (this.#inString) {
        this.#inString = mark !== QUOTE;
        this.#escaped = mark === BACKSLASH;
      } else if (this.#open.length === 0) {
        // Between objects only an opening brace begins something; brackets belong to the array around.
        if (mark !== OPEN_BRACE) continue;
        this.#open.push(mark);
        start = at;
      } else if (mark === QUOTE) {
        this.#inString = true;
      } else if (mark === OPEN_BRACE || mark === OPEN_BRACKET) {
        if (this.#open.push(mark) > MAX_DEPTH) {
          yield null;
          this.#beginAnew();
        }
      } else if (mark === CLOSE_BRACE || mark === CLOSE_BRACKET) {
        this.#close(mark === CLOSE_BRACE ? OPEN_BRACE : OPEN_BRACKET);
        if (this.#open.length > 0) continue;
        this.#keep(piece.subarray(start, at + 1));
        yield this.#tooLong ? null : joined(this.#kept);
        this.#beginAnew();
      }
    }
    if (this.#open.length > 0) this.#keep(piece.subarray(start));
  }

  *finish(): Generator<null> {
    if (this.#open.length > 0) yield null;
  }

  #beginAnew(): void {
    this.#open = [];
    this.#kept = [];
    this.#size = 0;
    this.#tooLong = false;
  }

  /** A missing bracket inside must not swallow the objects behind: a closing one ends all within its partner. */
  #close(partner: number): void {
    const at = this.#open.lastIndexOf(partner);
    if (at >= 0) this.#open.length = at;
  }

  #keep(part: Uint8Array): void {
    if (this.#tooLong || this.#size + part.length > this.#limit) {
      this.#tooLong = true;
      this.#kept = [];
    } else {
      this.#kept.push(part);
      this.#size += part.length;
    }
  }
}

/** How many brackets of a JSON text are open at once, at most. */
export function depth(data: Uint8Array): number {
  let deepest = 0;
  let opened = 0;
  let inString = false;
  for (let at = 0; at < data.length; at++) {
    const mark = data[at];
    if (inString) {
      if (mark === BACKSLASH) at++;
      else inString = mark !== QUOTE;
    } else if (mark === QUOTE) {
      inString = true;
    } else if (mark === OPEN_BRACE || mark === OPEN_BRACKET) {
      deepest = Math.max(deepest, ++opened);
    } else if (mark === CLOSE_BRACE || mark === CLOSE_BRACKET) {
      opened--;
    }
  }
  return deepest;
}
