/** Verifications: what a server says about a finished job, and what of it follows from its own sentences. */

import { get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Verification } from "../../api/types.ts";
import { Resource } from "./resource.svelte.ts";

const LINKED = "adapter"; // the sentence by which a statement vouches for an adapter

/** The report about `id`; if that was `hashed` on this device, only one about an adapter of this hash will do. */
export function verificationStore(id: Hex, hashed: boolean): Resource<Verification> {
  return new Resource(async (signal) => {
    const report = await get<Verification>(`/v1/verifications/${encodeURIComponent(id)}`, { signal });
    if (report.adapter === id || (!hashed && report.job_id === id)) return report;
    throw Problem.local(
      "corrupted",
      "The server answered about something else than was asked.",
      "Do not rely on this server: fetch the bundle and run `allod job verify` against an RPC endpoint of your own.",
    );
  });
}

/** What follows from the sentences of a report, whatever else it claims. */
export type Verdict = "nothing" | "broken" | "unvouched" | "vouched";

export function verdictOf({ sentences, vouched, adapter }: Verification): Verdict {
  if (sentences.length === 0) return "nothing";
  if (!sentences.every(({ holds }) => holds)) return "broken";
  return vouched && adapter !== null && sentences.some(({ slug }) => slug === LINKED) ? "vouched" : "unvouched";
}

/** A job id or hash as people paste it, as the API takes it; undefined if it is none. */
export function wanted(text: string): Hex | undefined {
  const digits = text.trim().toLowerCase().replace(/^(sha256:|0x)/, "");
  return /^[0-9a-f]{64}$/.test(digits) ? `0x${digits}` : undefined;
}
