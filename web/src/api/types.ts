/**
 * The documents of the API as this page uses them.
 *
 * Bytes are lower-case hex with 0x, money integer UNITs as decimal text, times Unix seconds.
 */

export type Hex = `0x${string}`;
/** Integer UNITs as decimal text. */
export type Units = string;
export type Seconds = number;

export interface Page<T> {
  data: T[];
  has_more: boolean;
  next_after: string | null;
}

export interface Purpose {
  code: string;
  iri: string;
  hash: Hex;
  label: string;
}

export interface Keeper {
  index: number;
  address: Hex;
  endpoint: string;
  hpke_key: Hex;
}

export interface World {
  chain_id: number;
  is_development: boolean;
  notice: string | null;
  version: string;
  contracts: { registry: Hex; consent_token: Hex; escrow: Hex; currency: Hex };
  currency: { symbol: string; decimals: number; unit_decimals: number };
  committee: {
    id: Hex;
    hash: Hex;
    document: string;
    t: number;
    n: number;
    q: number;
    end: Seconds;
    keepers: Keeper[];
  };
  runner: { address: Hex | null };
  operators: { server: string; runner: string; keepers: string[] };
  purposes: Purpose[];
  limits: { part_bytes: number; cids_per_question: number; block_bytes: number };
}

export interface Session {
  account: Hex;
  csrf_token: string;
  expires_at: Seconds;
}

export interface VaultDocument {
  vault_id: Hex;
  manifest_pk: Hex;
  head: string;
  sequence: number;
  blocks: number;
  bytes: number;
}

export interface ConsentFields {
  owner: Hex;
  grantee: Hex;
  asset: Hex;
  terms: Hex;
  purpose: Hex;
  runner: Hex;
  escrow: Hex;
  not_before: Seconds;
  expiry: Seconds;
  max_uses: number;
  nonce: string;
}

export interface TermsDocument {
  purposes: string[];
  base_models: Hex[] | null;
  max_epochs: number;
  max_uses: number;
  flat: Units;
  per_record_epoch: Units;
  payee: Hex;
  expiry: Seconds;
  runner: Hex | null;
}

export interface Dataset {
  asset: Hex;
  owner: Hex;
  title: string;
  card: { title?: string; description?: string; schema?: string[]; sample?: string };
  objects: number;
  records: number;
  published: Seconds;
  terms: TermsDocument;
  terms_hash: Hex;
  publication: string;
  offers: { consent: ConsentFields; signature: Hex }[];
}

export type RequestState = "open" | "approved" | "approved_with_changes" | "denied" | "withdrawn" | "expired";

export interface TrainerRequest {
  id: string;
  state: RequestState;
  asset: Hex;
  title: string;
  trainer: Hex;
  purpose: string;
  max_epochs: number;
  base_models: Hex[];
  max_uses: number;
  expiry: Seconds;
  flat: Units;
  per_record_epoch: Units;
  message: string;
  created: Seconds;
  open_until: Seconds;
  reason: string | null;
  consent: Hex | null;
  history: { at: Seconds; state: RequestState; by: Hex | null }[];
}

export type TokenStatus = "unminted" | "live" | "not_yet" | "expired" | "revoked" | "epoch_over" | "nonce_revoked" | "used_up";

export interface ConsentRow {
  number: number;
  consent: ConsentFields;
  signature: Hex;
  is_offer: boolean;
  purpose: string;
  title: string;
  tokens: { id: Hex; holder: Hex; status: TokenStatus; uses: number; uses_left: number | null }[];
  price: { flat: Units; per_record_epoch: Units };
  last_used: Seconds | null;
  jobs: { job_id: Hex; opened: Seconds; adapter: Hex | null }[];
  nonce_revoked: boolean;
}

export type OperationState = "accepted" | "sent" | "included" | "final" | "failed";

export interface Operation {
  id: string;
  kind: string;
  state: OperationState;
  tx_hash: Hex | null;
  block: number | null;
  created: Seconds;
  about: Record<string, unknown>;
  keepers: { index: number; address: Hex; stored: boolean }[];
  problem: { type: string; title: string; status: number; hint?: string | null } | null;
}

export type EarningState = "in_escrow" | "claimable" | "paid" | "expired";

export interface Earning {
  job_id: Hex;
  consent_id: Hex;
  asset: Hex | null;
  amount: Units;
  state: EarningState;
  claims_begin: Seconds;
  claims_end: Seconds;
  tx_hash: Hex | null;
}

export interface Earnings {
  data: Earning[];
  totals: { in_escrow: Units; claimable: Units; paid: Units };
}

export interface Event {
  id: number;
  at: Seconds;
  kind: string;
  data: Record<string, unknown>;
}

export interface Verification {
  job_id: Hex;
  adapter: Hex | null;
  verified: boolean;
  sentences: { text: string; holds: boolean; evidence: Record<string, unknown>; how_to_check: string }[];
  at: Seconds;
}
