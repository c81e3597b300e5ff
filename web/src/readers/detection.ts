/**
 * Which format a file has, told from its first 64 KiB alone.
 *
 * The owner previews by this rule and a job reads by it. A job never learns a file's name, so the name decides nothing.
 */

import { isAsciiSpace } from "./characters.ts";
import { asUtf8 } from "./source.ts";

export const HEAD = 1 << 16;

export const TEXT = "text/plain";
export const MARKDOWN = "text/markdown";
export const JSON_LINES = "application/jsonl";
export const JSON_VALUES = "application/json";
export const BINARY = "application/octet-stream";

const ODD_SHARE = 0.3;
const [OPEN_BRACE, OPEN_BRACKET, CLOSE_BRACE, CLOSE_BRACKET, QUOTE, COMMA] = [0x7b, 0x5b, 0x7d, 0x5d, 0x22, 0x2c];

/** The media type of a file that begins with `head` (its first 64 KiB, or all of it). */
export function detect(head: Uint8Array): string {
  const text = asUtf8(head.subarray(0, HEAD));
  if (isBinary(text)) return BINARY;
  if (isArray(text)) return JSON_VALUES;
  if (isObject(text)) return isLine(firstLine(text)) ? JSON_LINES : JSON_VALUES;
  return TEXT;
}

/** What to call a file in a list: its detected type, made finer by name and guess where that changes no reading. */
export function mediaTypeOf(name: string, head: Uint8Array, guessed: string): string {
  const found = detect(head);
  if (found === TEXT && /\.(md|markdown)$/i.test(name)) return MARKDOWN;
  return found === BINARY && guessed !== "" && !guessed.startsWith("text/") ? guessed : found;
}

function isBinary(text: Uint8Array): boolean {
  let control = 0;
  for (const byte of text) {
    if (byte === 0) return true;
    // Tab, newline, return, form feed and escape occur in text; other control bytes do not.
    const common = (byte >= 9 && byte <= 13 && byte !== 11) || byte === 0x1b;
    if ((byte < 0x20 && !common) || byte === 0x7f) control++;
  }
  if (control > 8) return true;
  // Most of what is not ASCII is not UTF-8 either: an image, an archive, an unknown encoding.
  let odd = 0;
  const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(text);
  for (let at = 0; at < decoded.length; at++) if (decoded.charCodeAt(at) === 0xfffd) odd++;
  return odd > 8 && odd > text.length * ODD_SHARE;
}

/** Where the next byte that is no white space stands, at `at` or behind. */
function next(text: Uint8Array, at: number): number {
  while (at < text.length && isAsciiSpace(text[at] ?? 0)) at++;
  return at;
}

function isArray(text: Uint8Array): boolean {
  const start = next(text, 0);
  if (text[start] !== OPEN_BRACKET) return false;
  const inner = next(text, start + 1);
  if (text[inner] === CLOSE_BRACKET) return next(text, inner + 1) === text.length;
  return isObject(text.subarray(inner));
}

function isObject(text: Uint8Array): boolean {
  const start = next(text, 0);
  if (text[start] !== OPEN_BRACE) return false;
  const inner = text[next(text, start + 1)];
  return inner === QUOTE || inner === CLOSE_BRACE;
}

function firstLine(text: Uint8Array): Uint8Array {
  const rest = text.subarray(next(text, 0));
  const end = rest.indexOf(10);
  return end < 0 ? rest : rest.subarray(0, end);
}

/** Whether a line is a JSON object of its own, perhaps a broken one, not the start of a longer one. */
function isLine(line: Uint8Array): boolean {
  // A pretty-printed object breaks its line behind a comma or an opening bracket, where no JSON ends.
  let end = line.length;
  while (end > 0 && isAsciiSpace(line[end - 1] ?? 0)) end--;
  const last = line[end - 1];
  return isObject(line) && last !== COMMA && last !== OPEN_BRACE && last !== OPEN_BRACKET;
}
