/**
 * A file's bytes on their way to a reader: UTF-8 without a mark in front, in pieces, or in bounded lines.
 *
 * Memory stays at one piece or one line, whatever the file's size.
 */

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The same text as UTF-8 without a byte-order mark; UTF-16 is recognised by its mark. */
export class Utf8 {
  #head: Uint8Array | null = NOTHING;
  #utf16: TextDecoder | null = null;

  feed(piece: Uint8Array): Uint8Array {
    if (this.#head !== null) {
      this.#head = joined([this.#head, piece]);
      return this.#head.length < 3 ? NOTHING : this.#begin(this.#head);
    }
    return this.#utf16 ? encoder.encode(this.#utf16.decode(piece, { stream: true })) : piece;
  }

  finish(): Uint8Array {
    const begun = this.#head === null ? NOTHING : this.#begin(this.#head);
    return this.#utf16 ? joined([begun, encoder.encode(this.#utf16.decode())]) : begun;
  }

  #begin(head: Uint8Array): Uint8Array {
    this.#head = null;
    const [first, second, third] = head;
    if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
      this.#utf16 = new TextDecoder(first === 0xff ? "utf-16le" : "utf-16be", { ignoreBOM: true });
      return this.feed(head.subarray(2));
    }
    return first === 0xef && second === 0xbb && third === 0xbf ? head.subarray(3) : head;
  }
}

/** All of `bytes` by the same rule. */
export function asUtf8(bytes: Uint8Array): Uint8Array {
  const source = new Utf8();
  return joined([source.feed(bytes), source.finish()]);
}

/** A line, or a part of one that is too long: all parts but its last are not whole. */
export interface Line {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly whole: boolean;
}

/**
 * Lines, numbered from 1, without their endings: `\n`, `\r\n` and a lone `\r`.
 *
 * A line longer than `limit` comes as several parts of at most that size; UTF-8 characters stay together.
 */
export class Lines {
  readonly #limit: number;
  #number = 1;
  #parts: Uint8Array[] = [];
  #size = 0;
  #returned = false; // a \r at the end of a piece may be half of a \r\n

  constructor(limit: number) {
    this.#limit = limit;
  }

  *feed(piece: Uint8Array): Generator<Line> {
    let start = 0;
    if (this.#returned && piece.length > 0) {
      this.#returned = false;
      yield* this.#end();
      if (piece[0] === 10) start = 1;
    }
    for (let at = start; at < piece.length; at++) {
      const byte = piece[at];
      if (byte !== 10 && byte !== 13) continue;
      this.#add(piece.subarray(start, at));
      start = at + 1;
      if (byte === 13 && start === piece.length) {
        this.#returned = true;
        break;
      }
      yield* this.#end();
      if (byte === 13 && piece[start] === 10) at = start++;
    }
    this.#add(piece.subarray(start));
    if (this.#size > this.#limit) yield* this.#cut();
  }

  *finish(): Generator<Line> {
    if (this.#size > 0 || this.#returned) yield* this.#end();
  }

  #add(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#parts.push(part);
    this.#size += part.length;
  }

  *#end(): Generator<Line> {
    if (this.#size > this.#limit) yield* this.#cut();
    const bytes = joined(this.#parts);
    this.#parts = [];
    this.#size = 0;
    yield { number: this.#number++, bytes, whole: true };
  }

  /** What is beyond doubt too long. */
  *#cut(): Generator<Line> {
    let rest = joined(this.#parts);
    while (rest.length > this.#limit) {
      let cut = this.#limit;
      while (cut > this.#limit - 4 && ((rest[cut] ?? 0) & 0xc0) === 0x80) cut--;
      yield { number: this.#number, bytes: rest.subarray(0, cut), whole: false };
      rest = rest.subarray(cut);
    }
    this.#parts = [rest.slice()];
    this.#size = rest.length;
  }
}
