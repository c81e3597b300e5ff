/** White space and sizes of text, as docs/format/31-readers.md counts them: JavaScript's own `trim` differs. */

/** The inside of a regular expression's class of white space: Unicode's White_Space and 1C to 1F. */
export const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const SPACES = new RegExp(`[${SPACE}]`);

export function isSpace(code: number): boolean {
  if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20);
  return SPACES.test(String.fromCharCode(code));
}

export function isBlank(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (!isSpace(text.charCodeAt(at))) return false;
  return true;
}

export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(0, end);
}

export function trim(text: string): string {
  let start = 0;
  while (start < text.length && isSpace(text.charCodeAt(start))) start++;
  return trimEnd(text.slice(start));
}

/** How many bytes a text without half characters takes in UTF-8. */
export function utf8Length(text: string): number {
  let size = text.length;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // Each half of a pair counts two: four for both.
    if (code > 0x7f) size += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return size;
}

/** `text` with halves of UTF-16 pairs (JSON can spell them) replaced, so that it can be encoded. */
export function whole(text: string): string {
  return text.replace(/[\ud800-\udfff]/gu, "?");
}

/** White space of ASCII, which is what JSON and the detection of formats know. */
export function isAsciiSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 9 && byte <= 13);
}
