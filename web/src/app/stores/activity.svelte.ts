/** The account's log: the newest page, older ones on request, and what happens while it is looked at. */

import { get } from "../../api/client.ts";
import { follow } from "../../api/events.ts";
import type { Event, Page } from "../../api/types.ts";
import { Listing } from "./resource.svelte.ts";

export const AREAS = [
  { area: "request", name: "Requests", icon: "requests" },
  { area: "consent", name: "Consents", icon: "consents" },
  { area: "job", name: "Jobs", icon: "activity" },
  { area: "earning", name: "Earnings", icon: "earnings" },
  { area: "vault", name: "Vault", icon: "files" },
  { area: "dataset", name: "Datasets", icon: "offer" },
  { area: "operation", name: "Transactions", icon: "clock" },
  { area: "revocation", name: "Keepers", icon: "lock" },
  { area: "session", name: "Sign-ins", icon: "key" },
] as const;

export function areaOf(kind: string): string {
  return kind.split(".", 1)[0] ?? kind;
}

const SENTENCES: Record<string, string> = {
  "session.started": "Signed in.",
  "session.ended": "Signed out.",
  "vault.committed": "The vault changed: its new head is stored.",
  "request.open": "A trainer asks for a consent.",
  "request.approved": "You approved a request.",
  "request.approved_with_changes": "You approved a request with changes.",
  "request.denied": "You denied a request.",
  "request.withdrawn": "A trainer withdrew a request.",
  "request.expired": "A request expired unanswered.",
  "consent.offered": "You made an open offer.",
  "consent.granted": "A consent token was granted.",
  "consent.taken": "A trainer took your offer.",
  "consent.revoked": "A consent was revoked on chain.",
  "revocation.stored": "A keeper stored your revocation.",
  "earning.in_escrow": "A job on your data began: its money is locked for you.",
  "job.done": "A job is done.",
  "dataset.published": "A dataset is on chain.",
  "job.opened": "A job on your data began: its money is locked.",
  "job.released": "Keepers released keys of yours to a job.",
  "job.finished": "A job on your data is finished.",
  "job.cancelled": "A job on your data was cancelled.",
  "earning.claimable": "Money can be claimed.",
  "earning.paid": "You were paid.",
  "operation.accepted": "What you signed was accepted.",
  "operation.sent": "A transaction of yours was sent.",
  "operation.included": "A transaction of yours is in a block.",
  "operation.final": "A transaction of yours is final.",
  "operation.failed": "A transaction of yours failed.",
};

/** An entry as a sentence; one of a kind that this page does not know is shown by its kind. */
export function sentenceOf(event: Event): string {
  return SENTENCES[event.kind] ?? `${event.kind.replaceAll(".", ", ").replaceAll("_", " ")}.`;
}

/** Of the steps of each transaction the newest alone; the list is newest first. */
export function newestSteps(events: Event[]): Event[] {
  const seen = new Set<unknown>();
  return events.filter((event) => {
    const operation = event.data["operation"];
    if (areaOf(event.kind) !== "operation" || operation === undefined) return true;
    return !seen.has(operation) && seen.add(operation);
  });
}

class Activity extends Listing<Event> {
  /** The newest entry that came while the screen was open, for those who listen. */
  news = $state("");

  constructor() {
    super((after, signal) =>
      get<Page<Event>>("/v1/activity", { query: { limit: 50, after }, ...(signal === undefined ? {} : { signal }) }),
    );
  }

  override open(): () => void {
    const stop = super.open();
    const leaving = new AbortController();
    const begin = $effect.root(() => {
      let begun = false;
      $effect(() => {
        if (begun || this.data === undefined) return;
        begun = true;
        const newest = this.data.data[0]?.id ?? 0;
        void follow("/v1/activity/stream", newest, (event) => this.#take(event), leaving.signal);
      });
    });
    return () => {
      stop();
      begin();
      leaving.abort();
    };
  }

  #take(event: Event): void {
    const now = this.data;
    if (now === undefined || now.data.some((one) => one.id === event.id)) return;
    this.data = { ...now, data: [event, ...now.data] };
    this.news = sentenceOf(event);
  }
}

export function activityStore(): Activity {
  return new Activity();
}
