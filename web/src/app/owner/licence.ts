/** What an owner decides about a dataset, before it becomes terms: the form's values, with a reason where they are wrong. */

import type { Hex, Seconds, TrainerRequest } from "../../api/types.ts";
import type { Terms } from "../../deeds/terms.ts";

export interface Licence {
  readonly purposes: readonly string[];
  readonly baseModels: readonly Hex[] | null;
  readonly maxEpochs: number;
  readonly maxUses: number;
  readonly flat: bigint;
  readonly perRecordEpoch: bigint;
  readonly expiry: Seconds;
}

/** `YYYY-MM-DD` of a time, in UTC. */
export function dayOf(seconds: Seconds): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

/** The end of a day in UTC; NaN if it is none. */
export function endOf(day: string): Seconds {
  return Math.floor(Date.parse(`${day}T23:59:59Z`) / 1000);
}

/** Why a number from a form is none of those asked for, or the empty text. */
export function wrongNumber(value: unknown, least: number, most: number): string {
  const fits = Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
  return fits ? "" : `A whole number from ${least} to ${most.toLocaleString("en-GB")}.`;
}

/** The licence that a request asks for. */
export function asked(request: TrainerRequest): Licence {
  return {
    purposes: [request.purpose],
    baseModels: request.base_models.length === 0 ? null : request.base_models,
    maxEpochs: request.max_epochs,
    maxUses: request.max_uses,
    flat: BigInt(request.flat),
    perRecordEpoch: BigInt(request.per_record_epoch),
    expiry: request.expiry,
  };
}

/** What terms say of money, runner and keepers where the owner was asked nothing about it. */
export type Usual = Pick<Terms, "payee" | "runner" | "committee">;

/** Whether terms that stand already give exactly what is wanted and nothing more, so that no new terms are needed. */
export function covers(terms: Terms, wanted: Licence, usual: Usual): boolean {
  const usesFit = terms.maxUses === 0 || (wanted.maxUses > 0 && wanted.maxUses <= terms.maxUses);
  return (
    wanted.purposes.every((code) => terms.purposes.includes(code)) &&
    sameModels(terms.baseModels, wanted.baseModels) &&
    usesFit &&
    terms.maxEpochs === wanted.maxEpochs &&
    terms.flat === wanted.flat &&
    terms.perRecordEpoch === wanted.perRecordEpoch &&
    wanted.expiry <= terms.expiry &&
    terms.payee === usual.payee &&
    terms.runner === usual.runner &&
    terms.committee === usual.committee
  );
}

function sameModels(ours: readonly Hex[] | null, theirs: readonly Hex[] | null): boolean {
  if (ours === null || theirs === null) return ours === theirs;
  const wanted = new Set(theirs);
  return ours.length === wanted.size && ours.every((model) => wanted.has(model));
}
