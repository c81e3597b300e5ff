/** The one door of the readers: bytes in, numbered records out. */

import { LineReader, ValueReader } from "./chat.ts";
import { detect, HEAD, JSON_LINES, JSON_VALUES, MARKDOWN, TEXT } from "./detection.ts";
import { broken, numbered, type BrokenPlace, type Draft, type Reader, type TrainingRecord } from "./record.ts";
import { joined, Utf8 } from "./source.ts";
import { TextReader } from "./text.ts";

/** A file's bytes in pieces of any size. */
export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const PIECE = 1 << 20;

/** A chosen file's bytes. (`Blob.stream` cannot be iterated over in every browser.) */
export async function* piecesOf(file: Blob): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.size; at += PIECE) {
    yield new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
  }
}

function readerOf(mediaType: string): Reader | null {
  switch (mediaType) {
    case TEXT:
    case MARKDOWN:
      return new TextReader();
    case JSON_LINES:
      return new LineReader();
    case JSON_VALUES:
      return new ValueReader();
    default:
      return null;
  }
}

/**
 * The records of a file in order, numbered from 0, and what of it is broken.
 *
 * `mediaType` null lets the content decide, as owners' previews and jobs do; a type given is taken at its word.
 * `name` appears in the reason when nothing in the file can be read. Streams: memory does not grow with the file.
 */
export async function* readRecords(
  name: string,
  mediaType: string | null,
  data: Pieces,
): AsyncGenerator<TrainingRecord | BrokenPlace> {
  let index = 0;
  const told = (item: Draft | BrokenPlace) => (item.kind === "draft" ? numbered(item, index++) : item);

  const source = new Utf8();
  let taken: Uint8Array[] = [];
  let size = 0;
  let reader: Reader | null = null;
  for await (const piece of data) {
    if (reader !== null) {
      for (const item of reader.feed(source.feed(piece))) yield told(item);
      continue;
    }
    taken.push(piece);
    size += piece.length;
    if (size < HEAD) continue;
    reader = readerOf(mediaType ?? detect(joined(taken)));
    if (reader === null) break;
    for (const held of taken) for (const item of reader.feed(source.feed(held))) yield told(item);
    taken = [];
  }
  if (size < HEAD) reader = readerOf(mediaType ?? detect(joined(taken)));
  if (reader === null) {
    const what = name === "" ? "It is" : `${name} is`;
    yield broken("whole file", `${what} neither text, nor chat lines, nor a list of conversations.`);
    return;
  }
  for (const held of taken) for (const item of reader.feed(source.feed(held))) yield told(item);
  for (const item of reader.feed(source.finish())) yield told(item);
  for (const item of reader.finish()) yield told(item);
}
