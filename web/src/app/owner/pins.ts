/** What a device accepted when a vault came to it: nothing is shown or signed for anything else. */

import { Problem } from "../../api/problem.ts";
import type { World } from "../../api/types.ts";

const WITHOUT_MONEY = 5; // parts of the pins that an older page wrote

/** Chain, contracts, keepers, and what a typed amount means: the currency and where its decimal point stands. */
export function pinsOf(now: World): string {
  const { registry, consent_token, escrow, currency } = now.contracts;
  const { symbol, unit_decimals } = now.currency;
  const money = [currency, encodeURIComponent(symbol), unit_decimals];
  return [now.chain_id, registry, consent_token, escrow, now.committee.hash, ...money].join(" ");
}

/** The pins to keep from now on, or a `Problem` if the server's are others. Pins without money take it at first sight. */
export function accepted(pins: string, now: World): string {
  const told = pinsOf(now);
  if (pins === told || (pins.split(" ").length === WITHOUT_MONEY && told.startsWith(`${pins} `))) return told;
  throw Problem.local(
    "another-server",
    "This server names another chain, other contracts, another currency or other keepers than when this device came to your vault.",
    "Ask who operates it why. To accept the new ones, remove the vault from this device and restore it with your words.",
  );
}
