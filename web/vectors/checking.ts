import type { Outcome, Vectors } from "./suites.ts";
import { fromHex, toHex } from "../src/vault/bytes.ts";

/** The outcome of a check that throws or says what is wrong. */
export async function outcome(name: string, check: () => unknown): Promise<Outcome> {
  try {
    await check();
    return { name, error: null };
  } catch (error) {
    return { name, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
  }
}

/** Throws unless both are the same JSON, or the same bytes. */
export function same(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [shown(actual), shown(expected)];
  if (a !== b) throw new Error(`${what}: ${a.slice(0, 300)} instead of ${b.slice(0, 300)}`);
}

/** Throws unless `act` fails with an error of one of these slugs. */
export async function refused(act: () => unknown, ...slugs: string[]): Promise<void> {
  try {
    await act();
  } catch (error) {
    const slug = error instanceof Error ? error.name : "";
    if (slugs.includes(slug)) return;
    throw new Error(`refused with ${String(error)} instead of ${slugs.join(" or ")}`);
  }
  throw new Error("it was accepted");
}

/** Vectors as parsed, with every 0x text as bytes. */
export function withBytes<T>(value: unknown): T {
  const turned = (item: unknown): unknown => {
    if (typeof item === "string") return /^0x([0-9a-f]{2})*$/.test(item) ? fromHex(item) : item;
    if (Array.isArray(item)) return item.map(turned);
    if (typeof item !== "object" || item === null) return item;
    return Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, turned(inner)]));
  };
  return turned(value) as T;
}

function shown(value: unknown): string {
  return (
    JSON.stringify(value, (_key, item: unknown) =>
      item instanceof Uint8Array ? toHex(item) : typeof item === "bigint" ? `${item}n` : item,
    ) ?? "undefined"
  );
}

type Check = readonly [name: string, check: () => unknown];

/** A suite that makes a check of each vector. */
export function suiteOf<V>(checks: (vectors: V) => Iterable<Check>): (vectors: Vectors) => AsyncGenerator<Outcome> {
  return async function* (vectors) {
    for (const [name, check] of checks(withBytes<V>(vectors))) yield await outcome(name, check);
  };
}
