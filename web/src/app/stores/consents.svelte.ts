/** The owner's consents, and ending them. */

import { many } from "../words.ts";
import { NOBODY } from "../../deeds/fields.ts";
import { Steps } from "../owner/steps.ts";
import { owner } from "../owner/owner.svelte.ts";
import { revokingAll } from "../owner/plans.ts";
import type { Held, Holdings } from "../owner/revocations.ts";
import { Resource } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";

export interface Standing {
  readonly words: string;
  readonly tone: "" | "good" | "warn" | "bad";
  /** Nothing can be done with it any more, as far as this page can know. */
  readonly isOver: boolean;
  /** Only the owner's own vault says that it is over, so it may be ended again. */
  readonly byVault?: boolean;
}

export function isOffer({ consent }: Held): boolean {
  return consent.grantee === NOBODY;
}

/** What a consent is worth now. One of which the server says nothing may be live. */
export function standing(row: Held): Standing {
  const over = (words: string, tone: "" | "bad" = ""): Standing => ({ words, tone, isOver: true });
  const { consent, told } = row;
  if (consent.expiry <= Date.now() / 1000) return over("expired");
  if (told === undefined && row.isEnded) return { ...over("revoked by you"), byVault: true };
  if (told === undefined) return { words: "state unknown", tone: "warn", isOver: false };
  if (told.nonce_revoked) return over("revoked", "bad");
  if (isOffer(row)) return { words: "open offer", tone: "good", isOver: false };
  switch (told.tokens[0]?.status ?? "never_minted") {
    case "live":
      return { words: "live", tone: "good", isOver: false };
    case "never_minted":
      return { words: "being granted", tone: "warn", isOver: false };
    case "not_yet":
      return { words: "not yet", tone: "warn", isOver: false };
    case "used_up":
      return over("used up");
    case "expired":
      return over("expired");
    default:
      return over("revoked", "bad");
  }
}

export function usesLeft(row: Held): string {
  const { consent, told } = row;
  if (consent.maxUses === 0) return "unlimited";
  if (isOffer(row)) return `${consent.maxUses} for each taker`;
  if (told === undefined) return `of ${many(consent.maxUses, "use")}, unknown`;
  return many(told.tokens[0]?.uses_left ?? consent.maxUses, "use");
}

class Consents extends Resource<Holdings> {
  /** Numbers of the consents whose end is on its way. */
  ending: number[] = $state.raw([]);

  constructor() {
    super((signal) => owner.consents(signal));
  }

  get rows(): readonly Held[] {
    return this.data?.rows ?? [];
  }

  /** Whether these are all that the vault has, as far as this page can know. */
  get isWhole(): boolean {
    return this.data !== undefined && this.data.lost === 0 && this.data.stale === undefined;
  }

  revoke(rows: readonly Held[]): void {
    void sheet.prepare("Revoke", async () => ({ ...(await owner.revocation(rows)), sent: () => this.#sent(rows) }));
  }

  revokeAll(live: number): void {
    const steps = new Steps();
    sheet.open({
      ...revokingAll(live),
      act: (say) => owner.revokeAll(steps, say),
      sent: () => this.#sent(this.rows),
    });
  }

  #sent(rows: readonly Held[]): void {
    this.ending = [...this.ending, ...rows.map((row) => row.number)];
    void this.load();
  }
}

export function consentsStore(): Consents {
  return new Consents();
}
