/** What jobs owe and paid, with the names that only this device knows: dataset titles and their files. */

import { get } from "../../api/client.ts";
import type { Earning, Earnings, Hex } from "../../api/types.ts";
import { iso, money } from "../words.ts";
import { Steps } from "../owner/steps.ts";
import type { DatasetFile } from "../owner/owned.ts";
import { owner } from "../owner/owner.svelte.ts";
import { claiming } from "../owner/plans.ts";
import { Resource } from "./resource.svelte.ts";
import { sheet } from "./sheet.svelte.ts";
import { world } from "./world.svelte.ts";

/** All pages: sums and exports are of everything. */
async function everything(signal: AbortSignal): Promise<Earnings> {
  let page = await get<Earnings>("/v1/earnings", { query: { limit: 100 }, signal });
  const data = [...page.data];
  while (page.has_more && page.next_after != null) {
    page = await get<Earnings>("/v1/earnings", { query: { limit: 100, after: page.next_after }, signal });
    data.push(...page.data);
  }
  return { ...page, data };
}

/** Each file's part of what a consent earned, by its records; the parts add up to the whole. */
export function parts(amount: string, files: readonly DatasetFile[]): { name: string; units: bigint }[] {
  const whole = BigInt(amount);
  const records = BigInt(files.reduce((sum, file) => sum + file.records, 0));
  let counted = 0n;
  let given = 0n;
  return files.map(({ name, records: own }) => {
    counted += BigInt(own);
    const until = records === 0n ? 0n : (whole * counted) / records;
    const units = until - given;
    given = until;
    return { name, units };
  });
}

class EarningsStore extends Resource<Earnings> {
  titles: ReadonlyMap<Hex, string> = $state.raw(new Map());
  files: ReadonlyMap<Hex, readonly DatasetFile[]> = $state.raw(new Map());

  constructor() {
    super(async (signal) => {
      const found = await everything(signal);
      void this.#name();
      return found;
    });
  }

  async #name(): Promise<void> {
    try {
      const datasets = [...(await owner.owned()).values()];
      this.titles = new Map(datasets.map((one) => [one.asset, one.title]));
      this.files = new Map(datasets.map((one) => [one.asset, one.files]));
    } catch {
      // Names are a convenience: without them the table shows ids.
    }
  }

  claim(found: Earnings): void {
    const jobs = found.data.filter((row) => row.state === "claimable").map((row) => row.job_id);
    const steps = new Steps();
    sheet.open({
      ...claiming(`${money(found.totals.claimable, world.places)} ${world.symbol}`, jobs.length),
      act: () => owner.claim(jobs, steps),
      sent: () => void this.load(),
    });
  }
}

export function earningsStore(): EarningsStore {
  return new EarningsStore();
}

/** RFC 4180, one row for each job; a cell that a spreadsheet would take for a formula is made text. */
export function fileCsv(found: Earnings, titles: ReadonlyMap<Hex, string>): string {
  const cell = (text: string): string => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const head = ["job", "consent", "asset", "dataset", "amount", "currency", "state", "claims_begin", "claims_end", "transaction"];
  const row = (one: Earning): string[] => [
    one.job_id,
    one.consent_id,
    one.asset ?? "",
    one.asset === null ? "" : (titles.get(one.asset) ?? ""),
    money(one.amount, world.places).replaceAll(",", ""),
    world.symbol,
    one.state,
    iso(one.claims_begin),
    iso(one.claims_end),
    one.tx_hash ?? "",
  ];
  return [head, ...found.data.map(row)].map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}
