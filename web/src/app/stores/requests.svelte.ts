/** What trainers ask of this owner, and the three answers. */

import { call, get } from "../../api/client.ts";
import { type Problem, problemOf } from "../../api/problem.ts";
import type { Hex, Page, TrainerRequest } from "../../api/types.ts";
import type { Licence } from "../owner/licence.ts";
import { owner } from "../owner/owner.svelte.ts";
import { Listing } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";
import { toasts } from "./toasts.svelte.ts";

/** The vault's titles, or why there are none. */
async function titlesOf(signal?: AbortSignal): Promise<Map<Hex, string> | Problem> {
  try {
    return new Map([...(await owner.owned(signal)).values()].map(({ asset, title }) => [asset, title]));
  } catch (thrown) {
    return problemOf(thrown);
  }
}

class Requests extends Listing<TrainerRequest> {
  /** By the vault: a server could call one dataset by another's title. */
  titles: ReadonlyMap<Hex, string> = $state.raw(new Map());
  /** Why the vault does not say how datasets are called; a request can be denied without it. */
  untitled: Problem | undefined = $state.raw();

  constructor() {
    super(async (after, signal) => {
      const query = { role: "owner", limit: 50, after };
      const [page, titles] = await Promise.all([
        get<Page<TrainerRequest>>("/v1/requests", { query, ...(signal === undefined ? {} : { signal }) }),
        titlesOf(signal),
      ]);
      if (titles instanceof Map) this.titles = titles;
      this.untitled = titles instanceof Map ? undefined : titles;
      return page;
    });
  }

  /** As it is, or under other terms. */
  approve(request: TrainerRequest, changed?: Licence): void {
    void sheet.prepare("Approve the request", async () => ({
      ...(await owner.approval(request, changed)),
      sent: () => void this.load(),
    }));
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
