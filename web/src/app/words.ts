/** How numbers, times, money and names are written for people. Exact where it is money. */

import type { Seconds, Units } from "../api/types.ts";
import { formatUnits, parseUnits } from "../deeds/money.ts";
import { InvalidInput } from "../vault/errors.ts";

const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const times = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const counts = new Intl.NumberFormat("en-GB");

export function date(seconds: Seconds): string {
  return dates.format(new Date(seconds * 1000));
}

export function time(seconds: Seconds): string {
  return times.format(new Date(seconds * 1000));
}

export function iso(seconds: Seconds): string {
  return new Date(seconds * 1000).toISOString();
}

export function count(value: number | bigint): string {
  return counts.format(value);
}

/** `3 files`, `1 file`. */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const names = ["KB", "MB", "GB", "TB"];
  let size = value / 1000;
  let place = 0;
  while (size >= 999.5 && place < names.length - 1) {
    size /= 1000;
    place += 1;
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${names[place]}`;
}

/** The ends of an address or hash; the whole of it stands in a title and in what is copied. */
export function short(hex: string, ends = 6): string {
  return hex.length <= 2 * ends + 3 ? hex : `${hex.slice(0, ends)}…${hex.slice(-4)}`;
}

/**
 * UNITs as people write them: `12.50`, `0.000125`; at least two places where the token has them. Never rounded. A
 * question mark where a server tells of more than a chain can pay.
 */
export function money(units: Units | bigint, places: number): string {
  return moneyIn(units, places) ?? "?";
}

/** `money`, or undefined of what is no amount. */
export function moneyIn(units: Units | bigint, places: number): string | undefined {
  try {
    return formatUnits(units, places, "en-GB");
  } catch (thrown) {
    if (!(thrown instanceof InvalidInput)) throw thrown;
    return undefined;
  }
}

/** The UNITs that a decimal text means, or a sentence on why it means none that terms can name. */
export function parseMoney(text: string, places: number): { units: bigint } | { wrong: string } {
  try {
    const units = parseUnits(text, places);
    return units > BigInt(Number.MAX_SAFE_INTEGER) ? { wrong: "That is more than terms can name." } : { units };
  } catch (thrown) {
    if (!(thrown instanceof InvalidInput)) throw thrown;
    return { wrong: `${thrown.message} ${thrown.hint}`.trim() };
  }
}

/** Time that is left, coarse: `12 days`, `3 hours`. */
export function left(until: Seconds, now: Seconds = Date.now() / 1000): string {
  const seconds = until - now;
  if (seconds <= 0) return "over";
  if (seconds < 3600) return many(Math.ceil(seconds / 60), "minute");
  if (seconds < 172800) return many(Math.round(seconds / 3600), "hour");
  return many(Math.round(seconds / 86400), "day");
}
