/** The owner's consents, and ending them. */

import { get } from "../../api/client.ts";
import type { ConsentRow, Page } from "../../api/types.ts";
import { many } from "../words.ts";
import { Steps } from "../owner/steps.ts";
import { owner } from "../owner/owner.svelte.ts";
import { revoking, revokingAll } from "../owner/plans.ts";
import { Listing } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";

export function isLive(row: ConsentRow): boolean {
  if (row.nonce_revoked || row.consent.expiry <= Date.now() / 1000) return false;
  if (row.is_offer) return true;
  return ["live", "never_minted", "not_yet"].includes(row.tokens[0]?.status ?? "never_minted");
}

export function usesLeft(row: ConsentRow): string {
  if (row.consent.max_uses === 0) return "unlimited";
  if (row.is_offer) return `${row.consent.max_uses} for each taker`;
  return many(row.tokens[0]?.uses_left ?? row.consent.max_uses, "use");
}

class Consents extends Listing<ConsentRow> {
  /** Numbers of the consents whose end is on its way. */
  ending: number[] = $state.raw([]);

  constructor() {
    super((after, signal) =>
      get<Page<ConsentRow>>("/v1/consents", {
        query: { role: "owner", limit: 100, after },
        ...(signal === undefined ? {} : { signal }),
      }),
    );
  }

  revoke(rows: readonly ConsentRow[]): void {
    const offers = rows.filter((row) => row.is_offer);
    const takers = offers.reduce((sum, row) => sum + row.tokens.length, 0);
    const steps = new Steps();
    sheet.open({
      ...revoking(rows.length - offers.length, offers.length, takers),
      act: (say) => owner.revoke(rows, steps, say),
      sent: () => this.#sent(rows),
    });
  }

  revokeAll(live: number): void {
    const steps = new Steps();
    sheet.open({
      ...revokingAll(live),
      act: (say) => owner.revokeAll(steps, say),
      sent: () => this.#sent(this.rows),
    });
  }

  #sent(rows: readonly ConsentRow[]): void {
    this.ending = [...this.ending, ...rows.map((row) => row.number)];
    void this.load();
  }
}

export function consentsStore(): Consents {
  return new Consents();
}
