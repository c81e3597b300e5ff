/** The vault's files, read from its newest head. */

import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { Resource } from "./resource.svelte.ts";

export function filesStore(): Resource<FileRow[]> {
  return new Resource((signal) => owner.refresh(signal));
}
