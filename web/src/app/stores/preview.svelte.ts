/** The first records of one file, and further ones on request; nothing is kept once the screen is left. */

import type { BrokenPlace, TrainingRecord } from "../../readers/index.ts";
import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { Resource } from "./resource.svelte.ts";

export const STEP = 20;

export interface Preview {
  readonly file: FileRow;
  readonly records: readonly TrainingRecord[];
  readonly broken: readonly BrokenPlace[];
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
  for await (const item of owner.records(file, signal)) {
    if (item.kind === "broken") broken.push(item);
    else if (records.length < wanted) records.push(item);
    else return { file, records, broken, more: true };
  }
  return { file, records, broken, more: false };
}

export function previewStore(id: string): PreviewStore {
  return new PreviewStore(id);
}
