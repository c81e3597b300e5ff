/** What the vault asks of its surroundings, and the shapes it gives back. No code. */
import type { Bytes } from "./bytes.ts";
import type { Value } from "./cbor.ts";
import type { Cid } from "./cid.ts";

/** Where blocks are read. `get` may return anything: the vault checks every block against its CID. */
export interface BlockSource {
  /** A block's bytes; rejects with `NotFound` if it is not here, `Unavailable` if that cannot be told. */
  get(cid: Cid, signal?: AbortSignal): Promise<Bytes>;
  /** Those of `cids` that are not here; at most `cidsPerQuestion` are asked about at once. */
  missing(cids: readonly Cid[], signal?: AbortSignal): Promise<Cid[]>;
}

/** Where blocks are written. */
export interface BlockSink {
  put(cid: Cid, data: Bytes): Promise<void>;
}

/** The side that keeps a vault's blocks: a server's API, or memory in tests. The app implements it over `fetch`. */
export interface Transport extends BlockSource {
  /** What the other side takes at once, where that is less than 16 MiB and 1024 CIDs. */
  readonly limits?: { readonly partBytes: number; readonly cidsPerQuestion: number };
  /** The newest head of the signed-in owner's vault; null before the first. */
  head(signal?: AbortSignal): Promise<Cid | null>;
  /** One CARv1 within the limits, kept durably once this resolves. Sending a block twice is harmless. */
  send(car: Bytes, signal?: AbortSignal): Promise<void>;
  /**
   * Makes `head` the newest. Rejects with `HeadMoved` (which names the newest) if `previous` is not it any more, with
   * `Incomplete` if blocks below the head are missing. `prove` gives docs/format/21-uploads.md's proof that the
   * vault's key belongs to an account: send it along, or somebody who saw the head may claim it.
   */
  commit(
    head: Cid,
    previous: Cid | null,
    signal: AbortSignal | undefined,
    prove: (account: Bytes) => Promise<Bytes>,
  ): Promise<void>;
}

/** One object. `size` is the plaintext's; `added` Unix seconds; `datasets` the digests of headers it is in. */
export interface Entry {
  readonly objectId: Bytes;
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  readonly added: number;
  readonly records: number;
  readonly broken: number;
  readonly notes: string;
  readonly manifest: Cid;
  readonly payload: Cid;
  readonly datasets: readonly Bytes[];
}

/** What readers (web/src/readers) find in a file while it is sealed; its records are counted from the same bytes. */
export interface Description {
  readonly mediaType: string;
  readonly records: number;
  readonly broken: number;
}

/** Reads all pieces of a file's plaintext and says what they are; `type` is what the browser guessed, or empty. */
export type Describe = (
  file: { readonly name: string; readonly type: string },
  pieces: AsyncIterable<Bytes>,
) => Promise<Description>;

/** Whose consent a share table is made for; the fields of docs/format/40-sharing.md's context. */
export interface Scope {
  readonly chainId: number;
  readonly token: Bytes;
  readonly owner: Bytes;
  readonly asset: Bytes;
  readonly vaultId: Bytes;
}

/** Who holds shares: `keys` are the keepers' HPKE keys in the order of their indices 1 … n. */
export interface Committee {
  readonly id: Bytes;
  readonly t: number;
  readonly keys: readonly Bytes[];
}

/** A dataset as built: register `digest` on chain, publish `header`. */
export interface BuiltDataset {
  readonly header: Cid;
  readonly digest: Bytes;
  readonly objects: number;
  readonly records: number;
}

export type Body = Readonly<Record<string, Value>>;
