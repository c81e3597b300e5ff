/**
 * Amounts: UNITs inside, decimal text for people. Exact, never rounded.
 *
 * UNIT = 10^max(0, decimals − 9) base units of the token, so that every amount fits 64 bits.
 */

import { InvalidInput } from "../vault/errors.ts";
import { bigInteger, integer, UINT64_MAX } from "./fields.ts";

/** Decimal places that a UNIT stands at: the token's, at most nine. */
export function unitDecimals(decimals: number): number {
  return Math.min(9, integer(decimals, "The token's decimals", 77));
}

/** UNITs as a decimal text without grouping: `12.50`, `0.000125`; at least two places where the token has them. */
export function writeUnits(units: bigint | string, decimals: number): string {
  const { whole, part } = partsOf(units, decimals);
  return part === "" ? whole.toString() : `${whole}.${part}`;
}

/** UNITs as people of `locale` read them, all digits kept. */
export function formatUnits(units: bigint | string, decimals: number, locale?: string): string {
  const { whole, part } = partsOf(units, decimals);
  const digits = { minimumFractionDigits: part.length, maximumFractionDigits: part.length };
  // A decimal text is formatted digit by digit; a number would be rounded.
  return new Intl.NumberFormat(locale, digits).format(`${whole}.${part || "0"}` as Intl.StringNumericLiteral);
}

/** The UNITs that a decimal text means; `InvalidInput` if it means a fraction of one or too many. */
export function parseUnits(amount: string, decimals: number): bigint {
  const places = unitDecimals(decimals);
  const match = /^([0-9]{1,20})(?:\.([0-9]{1,18}))?$/.exec(amount.trim());
  if (match === null) throw new InvalidInput(`'${amount.slice(0, 40)}' is not an amount.`, "Write it like 12 or 12.50.");
  const part = (match[2] ?? "").replace(/0+$/, "");
  if (part.length > places) {
    throw new InvalidInput(`The amount has more than ${places} decimal places.`, "Round it yourself.");
  }
  const units = BigInt(match[1] ?? "0") * 10n ** BigInt(places) + BigInt(part.padEnd(places, "0") || "0");
  return bigInteger(units, "The amount in UNITs", UINT64_MAX);
}

function partsOf(units: bigint | string, decimals: number): { whole: bigint; part: string } {
  const places = unitDecimals(decimals);
  if (typeof units === "string" && !/^[0-9]{1,20}$/.test(units)) throw new InvalidInput("The amount is not a whole number.");
  const amount = bigInteger(BigInt(units), "The amount", UINT64_MAX);
  const one = 10n ** BigInt(places);
  const rest = amount % one;
  const part = rest === 0n ? "" : rest.toString().padStart(places, "0").replace(/0+$/, "");
  return { whole: amount / one, part: part.padEnd(Math.min(2, places), "0") };
}
