/** What follows from the server's description of itself: where deeds count, and how sheets write money and accounts. */

import type { World } from "../../api/types.ts";
import type { Place } from "../../deeds/consent.ts";
import { type Style, styleOf } from "../../deeds/sentences.ts";

export function placeOf(world: World): Place {
  const { registry, consent_token, escrow } = world.contracts;
  return { chainId: world.chain_id, registry, consentToken: consent_token, escrow };
}

/** Accounts in full, because two may begin and end alike. */
export function styleFor(world: World): Style {
  const { symbol, unit_decimals } = world.currency; // what this device accepted (`pins.ts`)
  return { ...styleOf({ symbol, decimals: unit_decimals }), name: (account) => account };
}
