/** What can be offered, what is published, and publishing. */

import type { Dataset } from "../../api/types.ts";
import type { Licence } from "../owner/licence.ts";
import { Steps } from "../owner/steps.ts";
import { type FileRow, owner } from "../owner/owner.svelte.ts";
import { offering, publishing } from "../owner/plans.ts";
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
  readonly datasets: readonly Dataset[];
}

export class OfferStore extends Resource<Offerable> {
  constructor() {
    super(async (signal) => {
      await world.need();
      const [files, datasets] = await Promise.all([owner.refresh(signal), owner.datasets(signal)]);
      return { files, datasets };
    });
  }

  publish(proposal: Proposal, sent: () => void): void {
    const steps = new Steps();
    sheet.open({
      ...publishing(proposal.files.length, proposal.licence.purposes.length, proposal.isOpen),
      act: (say) => owner.publish(proposal, steps, say),
      sent: () => {
        sent();
        scrollTo(0, 0);
        void this.load();
      },
    });
  }

  offer(dataset: Dataset): void {
    const steps = new Steps();
    sheet.open({
      ...offering(dataset.title, dataset.purposes.length),
      act: (say) => owner.offer(dataset.asset, dataset.purposes, steps, say),
      sent: () => void this.load(),
    });
  }
}

export function offerStore(): OfferStore {
  return new OfferStore();
}
