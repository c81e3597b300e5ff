/** What the server keeps for this owner, beside what it is. */

import { get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { VaultDocument, World } from "../../api/types.ts";
import { Resource } from "./resource.svelte.ts";

interface Kept {
  readonly world: World;
  readonly vault: VaultDocument | null;
}

export function settingsStore(): Resource<Kept> {
  return new Resource(async (signal) => {
    const [world, vault] = await Promise.all([get<World>("/v1/world", { signal }), mine(signal)]);
    return { world, vault };
  });
}

async function mine(signal: AbortSignal): Promise<VaultDocument | null> {
  try {
    return await get<VaultDocument>("/v1/vaults/mine", { signal });
  } catch (thrown) {
    if (thrown instanceof Problem && thrown.status === 404) return null;
    throw thrown;
  }
}
