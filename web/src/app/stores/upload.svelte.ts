/** What the upload screen needs before it takes a file: the vault's files, and what was left unfinished. */

import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { Resource } from "./resource.svelte.ts";
import { uploads } from "./uploads.svelte.ts";

interface Ready {
  readonly known: readonly FileRow[];
}

export function uploadStore(): Resource<Ready> {
  return new Resource(async (signal) => {
    const [known] = await Promise.all([owner.refresh(signal), uploads.open()]);
    return { known };
  });
}
