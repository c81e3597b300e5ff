/** The first records of one file, and further ones on request; nothing is kept once the screen is left. */

import type { BrokenPlace, TrainingRecord } from "../../readers/index.ts";
import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { Resource } from "./resource.svelte.ts";

export const STEP = 20;
const SHOWN = 100; // broken places; a file may have millions

export interface Preview {
  readonly file: FileRow;
  readonly records: readonly TrainingRecord[];
  /** The first broken places, and how many were met. */
  readonly broken: readonly BrokenPlace[];
  readonly unread: number;
  readonly more: boolean;
}

class PreviewStore extends Resource<Preview> {
  #wanted = STEP;

  constructor(id: string) {
    super((signal) => read(id, this.#wanted, signal));
  }

  async further(): Promise<void> {
    this.#wanted += STEP;
    await this.load();
  }
}

async function read(id: string, wanted: number, signal: AbortSignal): Promise<Preview> {
  const file = await owner.file(id, signal);
  const records: TrainingRecord[] = [];
  const broken: BrokenPlace[] = [];
  let unread = 0;
  for await (const item of owner.records(file, signal)) {
    if (item.kind === "broken") {
      unread += 1;
      if (broken.length < SHOWN) broken.push(item);
    } else if (records.length < wanted) records.push(item);
    else return { file, records, broken, unread, more: true };
  }
  return { file, records, broken, unread, more: false };
}

export function previewStore(id: string): PreviewStore {
  return new PreviewStore(id);
}
