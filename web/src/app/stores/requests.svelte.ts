/** What trainers ask of this owner, and the three answers. */

import { call, get } from "../../api/client.ts";
import type { Page, TrainerRequest } from "../../api/types.ts";
import { asked, type Licence } from "../owner/licence.ts";
import { Steps } from "../owner/steps.ts";
import { owner } from "../owner/owner.svelte.ts";
import { approving } from "../owner/plans.ts";
import { Listing } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";
import { toasts } from "./toasts.svelte.ts";

class Requests extends Listing<TrainerRequest> {
  constructor() {
    super((after, signal) =>
      get<Page<TrainerRequest>>("/v1/requests", {
        query: { role: "owner", limit: 50, after },
        ...(signal === undefined ? {} : { signal }),
      }),
    );
  }

  /** As it is, or under other terms. */
  approve(request: TrainerRequest, changed?: Licence): void {
    const steps = new Steps();
    sheet.open({
      ...approving(request.title ?? "your dataset", changed !== undefined),
      act: (say) => owner.approve(request, changed ?? asked(request), steps, say),
      sent: () => void this.load(),
    });
  }

  async deny(request: TrainerRequest, reason: string): Promise<void> {
    await call("POST", `/v1/requests/${encodeURIComponent(request.id)}/denial`, { body: { reason } });
    toasts.say("Denied. The trainer sees it.", "good");
    await this.load();
  }
}

export function requestsStore(): Requests {
  return new Requests();
}
