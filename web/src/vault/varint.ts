import type { Bytes } from "./bytes.ts";
import { InvalidInput } from "./errors.ts";

/** Unsigned LEB128, as multiformats use it. */
export function encodeVarint(number: number): Bytes {
  const out: number[] = [];
  let rest = number;
  while (rest > 0x7f) {
    out.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return new Uint8Array(out);
}

/** The number at `offset` and the offset behind it; minimal form, at most 2^53 − 1. */
export function decodeVarint(data: Uint8Array, offset: number): [number, number] {
  let number = 0;
  let scale = 1;
  for (let at = offset; at < Math.min(offset + 9, data.length); at++) {
    const byte = data[at] as number;
    number += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) {
      if (byte === 0 && at > offset) throw new InvalidInput("A varint with a needless zero byte.");
      if (!Number.isSafeInteger(number)) throw new InvalidInput("A varint beyond 2^53 − 1.");
      return [number, at + 1];
    }
  }
  throw new InvalidInput("A varint that does not end.");
}
