/** Files that leave the page: written by the browser into its download folder. */

import type { FileRow } from "./owner.svelte.ts";
import { owner } from "./owner.svelte.ts";

type Pickers = Window & {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;
};

export function save(name: string, content: BlobPart | Blob, type: string): void {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const IN_MEMORY = 256 << 20;

/**
 * An object of the vault, opened, whole or not at all.
 *
 * A large one goes to its file piece by piece where the browser can write files; a failure there leaves no file.
 */
export async function saveObject(row: FileRow): Promise<void> {
  const name = row.name.split("/").pop() ?? "file";
  const picker = (window as Pickers).showSaveFilePicker;
  if (row.size > IN_MEMORY && picker !== undefined) {
    const handle = await picker.call(window, { suggestedName: name }).catch(dismissed);
    if (handle === undefined) return;
    const file = await handle.createWritable();
    try {
      for await (const piece of owner.pieces(row)) await file.write(piece);
      await file.close();
    } catch (thrown) {
      await file.abort();
      throw thrown;
    }
    return;
  }
  const parts: BlobPart[] = [];
  for await (const piece of owner.pieces(row)) parts.push(piece);
  save(name, new Blob(parts, { type: "application/octet-stream" }), "application/octet-stream");
}

/** Who closes the picker wants no file; that is no failure. */
function dismissed(thrown: unknown): undefined {
  if (thrown instanceof DOMException && thrown.name === "AbortError") return undefined;
  throw thrown;
}
