/** What this server is: its chain and contracts, its keepers and who operates them. */

import { get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { World } from "../../api/types.ts";
import { Resource } from "./resource.svelte.ts";

class WorldStore extends Resource<World> {
  constructor() {
    super((signal) => get<World>("/v1/world", { signal }));
  }

  /** The document, waited for; a `Problem` when it cannot be had. */
  async need(): Promise<World> {
    if (this.data === undefined) await this.load();
    if (this.data === undefined) throw this.problem ?? Problem.offline();
    return this.data;
  }

  get symbol(): string {
    return this.data?.currency.symbol ?? "";
  }

  /** Decimal places of a UNIT. */
  get places(): number {
    return this.data?.currency.unit_decimals ?? 9;
  }
}

export const world = new WorldStore();
