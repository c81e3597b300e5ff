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

/** What a job with so many epochs pays. */
export function priceOf(licence: Pick<Licence, "flat" | "perRecordEpoch">, records: number, epochs: number): bigint {
  return licence.flat + licence.perRecordEpoch * BigInt(records) * BigInt(epochs);
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

/** Whether terms that stand already give exactly what is asked, so that no new terms are needed. */
export function covers(terms: Terms, wanted: Licence): boolean {
  const models = terms.baseModels;
  const modelsFit =
    models === null ? wanted.baseModels === null : (wanted.baseModels?.every((one) => models.includes(one)) ?? false);
  const usesFit = terms.maxUses === 0 || (wanted.maxUses > 0 && wanted.maxUses <= terms.maxUses);
  return (
    wanted.purposes.every((code) => terms.purposes.includes(code)) &&
    modelsFit &&
    usesFit &&
    terms.maxEpochs === wanted.maxEpochs &&
    terms.flat === wanted.flat &&
    terms.perRecordEpoch === wanted.perRecordEpoch &&
    wanted.expiry <= terms.expiry
  );
}
