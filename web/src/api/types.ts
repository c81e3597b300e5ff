/** The documents of the API under short names; their shapes come from openapi.json (schema.ts). */

import type { components } from "./schema.ts";

type Schemas = components["schemas"];

export type Hex = `0x${string}`;
/** Integer UNITs as decimal text. */
export type Units = string;
export type Seconds = number;

export interface Page<T> {
  data: T[];
  has_more: boolean;
  next_after?: string | null;
}

export type World = Schemas["WorldOut"];
export type Session = Schemas["SessionOut"];
export type VaultDocument = Schemas["VaultOut"];

export type Dataset = Schemas["DatasetDetailOut"];
export type DatasetRow = Schemas["DatasetOut"];

export type TrainerRequest = Schemas["RequestOut"];
export type RequestState = TrainerRequest["state"];

export type ConsentRow = Schemas["ConsentRowOut"];
export type ConsentFields = Schemas["ConsentOut"];

export type Operation = Schemas["OperationOut"];
export type OperationState = Operation["state"];

export type Earnings = Schemas["EarningsOut"];
export type Earning = Schemas["EarningOut"];
export type EarningState = Earning["state"];

export type Event = Schemas["ActivityOut"];
export type Verification = Schemas["VerificationOut"];
