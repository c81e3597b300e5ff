/** What can be offered, what is published, and publishing. */

import type { Published } from "../owner/drafting.ts";
import type { Licence } from "../owner/licence.ts";
import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { Resource } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";
import { world } from "./world.svelte.ts";

export interface Proposal {
  readonly files: readonly FileRow[];
  readonly card: { title: string; description: string; schema: string[]; sample: string };
  readonly licence: Licence;
  readonly isOpen: boolean;
}

interface Offerable {
  readonly files: readonly FileRow[];
  readonly datasets: readonly Published[];
}

export class OfferStore extends Resource<Offerable> {
  constructor() {
    super(async (signal) => {
      await world.need();
      const files = await owner.refresh(signal);
      return { files, datasets: await owner.datasets(signal) };
    });
  }

  publish(proposal: Proposal, sent: () => void): void {
    void sheet.prepare("Publish", async () => ({
      ...(await owner.publication(proposal)),
      sent: () => {
        sent();
        scrollTo(0, 0);
        void this.load();
      },
    }));
  }

  offer(asset: Published["asset"]): void {
    void sheet.prepare("Offer to all", async () => ({ ...(await owner.offer(asset)), sent: () => void this.load() }));
  }
}

export function offerStore(): OfferStore {
  return new OfferStore();
}
