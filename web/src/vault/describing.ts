/** What a file is and how many records it holds, by the readers that every job uses. */
import { HEAD, mediaTypeOf, readRecords } from "../readers/index.ts";
import { type Bytes, EMPTY, concat } from "./bytes.ts";
import type { Describe } from "./interfaces.ts";

/** Reads what it needs of the pieces; memory does not grow with them. */
export const describeFile: Describe = async ({ name, type }, pieces) => {
  let head: Bytes = EMPTY;
  async function* watched(): AsyncGenerator<Bytes> {
    for await (const piece of pieces) {
      if (head.length < HEAD) head = concat(head, piece.subarray(0, HEAD - head.length));
      yield piece;
    }
  }
  let [records, broken] = [0, 0];
  for await (const item of readRecords(name, null, watched())) {
    if (item.kind === "broken") broken++;
    else records++;
  }
  return { mediaType: mediaTypeOf(name, head, type), records, broken };
};
