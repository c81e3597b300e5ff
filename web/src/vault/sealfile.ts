/** Sealing one file as a stream of blocks: each byte is read once, and memory does not grow with the file. */
import type { Bytes } from "./bytes.ts";
import type { Block } from "./car.ts";
import { Cid, RAW } from "./cid.ts";
import { AllodError, Conflict } from "./errors.ts";
import type { Describe, Description } from "./interfaces.ts";
import { FIRST, REST, SegmentKey, ciphertextSize, plaintextStart, segmentCount } from "./segments.ts";
import { FileBuilder } from "./unixfs.ts";

const IN_FLIGHT = 4; // segments: WebCrypto works on several at once

/** What sealing gives: a segment (`plain` bytes of the file are in it), an inner node, and at the end the whole. */
export type Piece =
  | ({ readonly kind: "segment"; readonly plain: number } & Block)
  | ({ readonly kind: "node" } & Block)
  | { readonly kind: "end"; readonly payload: Cid; readonly size: number; readonly found: Description };

/**
 * Seals `file` under `key`, in order. Nothing of it may leave this device unless the caller knows that the key never
 * sealed anything else: the key is new, or every segment is what the journal says (see `journal.ts`).
 */
export async function* sealFile(file: Blob, key: SegmentKey, name: string, describe: Describe): AsyncGenerator<Piece> {
  const size = ciphertextSize(file.size);
  const count = segmentCount(size);
  const nodes: Block[] = [];
  const builder = new FileBuilder((cid, data) => nodes.push({ cid, data }));
  const feed = new TransformStream<Bytes, Bytes>({}, { highWaterMark: 1 }, { highWaterMark: 1 });
  const writer = feed.writable.getWriter();
  writer.closed.catch(() => undefined); // a reader that has seen enough
  let failure: unknown = null;
  const described = describe({ name, type: file.type }, feed.readable.values()).catch((error: unknown) => {
    failure = error;
    return { mediaType: "application/octet-stream", records: 0, broken: 0 };
  });

  const sealSegment = async (index: number): Promise<{ plain: Bytes; data: Bytes; cid: Cid }> => {
    const plain = await read(file, plaintextStart(index), index === 0 ? FIRST : REST);
    const data = await key.seal(index, index === count - 1, plain);
    return { plain, data, cid: await Cid.ofLarge(RAW, data) };
  };

  const flying: Promise<{ plain: Bytes; data: Bytes; cid: Cid }>[] = [];
  try {
    for (let next = 0, index = 0; index < count; index++) {
      while (next < count && flying.length < IN_FLIGHT) {
        const segment = sealSegment(next++);
        segment.catch(() => undefined); // it is awaited in its turn; until then its failure is no surprise
        flying.push(segment);
      }
      const { plain, data, cid } = await (flying.shift() as (typeof flying)[number]);
      if (failure === null && plain.length > 0) await writer.write(plain).catch(() => undefined);
      builder.add(cid, data.length);
      yield { kind: "segment", cid, data, plain: plain.length };
      while (nodes.length > 0) yield { kind: "node", ...(nodes.shift() as Block) };
    }
    await writer.close().catch(() => undefined);
    const found = await described;
    if (failure !== null) throw failure;
    const { root } = builder.finish();
    while (nodes.length > 0) yield { kind: "node", ...(nodes.shift() as Block) };
    yield { kind: "end", payload: root, size, found };
  } finally {
    await writer.abort().catch(() => undefined);
  }
}

async function read(file: Blob, start: number, length: number): Promise<Bytes> {
  const stop = Math.min(file.size, start + length);
  let data: Bytes;
  try {
    data = new Uint8Array(await file.slice(start, stop).arrayBuffer());
  } catch (error) {
    if (error instanceof DOMException) throw changed(); // browsers refuse to read a file that is another by now
    throw error;
  }
  if (data.length !== stop - start) throw changed();
  return data;
}

function changed(): AllodError {
  return new Conflict(
    "The file changed while it was being sealed, or cannot be read any more.",
    "Close the program that writes it, then choose it again.",
  );
}
