/**
 * Sharing data keys among keepers (docs/format/40-sharing.md).
 *
 * The cells' nonce is zero because each cell key seals one share: a batch draws fresh seeds, refuses an object twice
 * and lives only inside `shareObjects`; an interrupted batch is gone with its seeds.
 */
import { type Bytes, bigEndian, compare, concat, equal, random, toHex, utf8 } from "./bytes.ts";
import { hash } from "./cid.ts";
import { Corrupted, InvalidInput } from "./errors.ts";
import { PUBLIC_KEY, hpkeOpen, hpkeSeal } from "./hpke.ts";
import type { Committee, Scope } from "./interfaces.ts";
import { type SigningKey, hkdf } from "./rootkey.ts";
import { dekCommitment } from "./segments.ts";
import { SECRET, SHARE, checkThreshold, combine, split } from "./shares.ts";
import { type ShareHead, type ShareRow, type ShareTable, buildTable } from "./sharetable.ts";
import { gcmDecrypt, gcmEncrypt } from "./wrapping.ts";

const SEED_LABEL = "allod/seed/v1";
const CELL_LABEL = "allod/cell/v1";
const SHARE_LABEL = "allod/share/v1";
const RELEASE_LABEL = "allod/release/v1";
const ZERO_NONCE = new Uint8Array(12);
const NO_OBJECT = new Uint8Array(32);

/** What a share table's head says of its batch. */
type BatchHead = Pick<ShareHead, "batchId" | "t" | "n">;

/** The context of docs/format/40: every field has a fixed length, so no two contexts share an encoding. */
export function context(
  label: string,
  scope: Scope,
  objectId: Bytes,
  batch: BatchHead,
  i: number,
  keeperPk: Bytes,
): Bytes {
  const widths = [scope.token, scope.owner, scope.asset, scope.vaultId].map((field) => field.length);
  if (widths.join() !== "20,20,32,32" || !Number.isSafeInteger(scope.chainId) || scope.chainId < 0) {
    throw new InvalidInput("A sharing scope has a chain id, two addresses, an asset and a vault id.");
  }
  const { batchId, t, n } = batch;
  if (objectId.length !== 32 || batchId.length !== 16 || keeperPk.length !== PUBLIC_KEY || !(i >= 1 && i <= n)) {
    throw new InvalidInput("A sharing context has an object, a batch and one of the committee's keepers.");
  }
  checkThreshold(t, n);
  return concat(
    utf8(`${label}\0`),
    bigEndian(scope.chainId, 8),
    scope.token,
    scope.owner,
    scope.asset,
    scope.vaultId,
    objectId,
    batchId,
    new Uint8Array([t, n, i]),
    hash(keeperPk),
  );
}

/** Splits each object's DEK among the committee's keepers, t-of-n, in one new batch, and signs the table. */
export async function shareObjects(
  scope: Scope,
  deks: readonly { readonly objectId: Bytes; readonly dek: Bytes }[],
  committee: Committee,
  key: SigningKey,
  sequence: number,
): Promise<ShareTable> {
  const { t, keys } = committee;
  const n = keys.length;
  checkThreshold(t, n);
  if (new Set(keys.map(toHex)).size !== n) {
    throw new InvalidInput("Two keepers of the committee have the same key.", "Choose another committee.");
  }
  const sorted = deks.toSorted((a, b) => compare(a.objectId, b.objectId));
  const twice = sorted.some(({ objectId }, at) => equal(objectId, sorted[at - 1]?.objectId ?? NO_OBJECT));
  if (sorted.length === 0 || twice || sorted.some(({ dek }) => dek.length !== SECRET)) {
    throw new InvalidInput("At least one object is shared, each once and by its 32-byte data key.");
  }
  const batch: BatchHead = { batchId: random(16), t, n };
  const seeds = keys.map(() => random(SECRET));
  const rows: ShareRow[] = [];
  for (const { objectId, dek } of sorted) rows.push(await shareRow(scope, batch, seeds, keys, objectId, dek));
  const sealed = await Promise.all(
    keys.map((keeper, at) =>
      hpkeSeal(keeper, seeds[at] as Bytes, context(SEED_LABEL, scope, NO_OBJECT, batch, at + 1, keeper)),
    ),
  );
  return await buildTable({ asset: scope.asset, ...batch, committeeId: committee.id, sealed, sequence }, rows, key);
}

async function shareRow(
  scope: Scope,
  batch: BatchHead,
  seeds: readonly Bytes[],
  keys: readonly Bytes[],
  objectId: Bytes,
  dek: Bytes,
): Promise<ShareRow> {
  const shares = split(dek, batch.t, batch.n);
  const cells = shares.map(async (share, at) => {
    const info = context(CELL_LABEL, scope, objectId, batch, at + 1, keys[at] as Bytes);
    return await gcmEncrypt(await hkdf(seeds[at] as Bytes, batch.batchId, info), ZERO_NONCE, share);
  });
  const hashes = shares.map((share, at) =>
    hash(context(SHARE_LABEL, scope, objectId, batch, at + 1, keys[at] as Bytes), share),
  );
  return { objectId, cells: await Promise.all(cells), hashes };
}

/** Keeper `i`'s share of a row's object: what its keeper reads, and what an owner can check before publishing. */
export async function openShare(
  keeperPrivate: Bytes,
  keeperPk: Bytes,
  i: number,
  scope: Scope,
  head: ShareHead,
  row: ShareRow,
): Promise<Bytes> {
  checkPlace(head, row, i);
  if (!equal(head.asset, scope.asset)) {
    throw new Corrupted("The share table belongs to another dataset.", "Ask for the consent's own dataset.");
  }
  const info = context(SEED_LABEL, scope, NO_OBJECT, head, i, keeperPk);
  const seed = await hpkeOpen(keeperPrivate, head.sealed[i - 1] as Bytes, info);
  const key = await hkdf(seed, head.batchId, context(CELL_LABEL, scope, row.objectId, head, i, keeperPk));
  const share = await gcmDecrypt(key, ZERO_NONCE, row.cells[i - 1] as Bytes);
  if (share === null) {
    throw new Corrupted(
      `Keeper ${i}'s cell for this object does not open under this consent.`,
      "Share the dataset again.",
    );
  }
  checkShare(scope, head, row, i, keeperPk, share);
  return share;
}

/** The share inside R_i, released to one job. */
export async function openRelease(
  jobPrivate: Bytes,
  released: Bytes,
  scope: Scope,
  head: ShareHead,
  row: ShareRow,
  i: number,
  keeperPk: Bytes,
  jobId: Bytes,
): Promise<Bytes> {
  checkPlace(head, row, i);
  if (jobId.length !== 32) throw new InvalidInput("A job id has 32 bytes.");
  const info = concat(context(RELEASE_LABEL, scope, row.objectId, head, i, keeperPk), jobId);
  const share = await hpkeOpen(jobPrivate, released, info);
  checkShare(scope, head, row, i, keeperPk, share);
  return share;
}

/** The object's data key from at least `t` shares, checked against its manifest's commitment. */
export async function recoverDek(
  shares: readonly Bytes[],
  t: number,
  commit: Bytes,
  vaultId: Bytes,
  objectId: Bytes,
): Promise<Bytes> {
  if (shares.length < t) {
    throw new InvalidInput(`${shares.length} shares are too few: this object needs ${t}.`, "Ask more keepers.");
  }
  const dek = combine(shares);
  if (!equal(await dekCommitment(dek, vaultId, objectId), commit)) {
    throw new Corrupted("The shares do not make this object's key.", "The owner shares the dataset again.");
  }
  return dek;
}

function checkPlace(head: ShareHead, row: ShareRow, i: number): void {
  if (!(i >= 1 && i <= head.n) || row.cells.length !== head.n) {
    throw new InvalidInput(`The share table has no keeper ${i} in this row.`);
  }
}

function checkShare(scope: Scope, head: ShareHead, row: ShareRow, i: number, keeperPk: Bytes, share: Bytes): void {
  checkPlace(head, row, i);
  const expected = hash(context(SHARE_LABEL, scope, row.objectId, head, i, keeperPk), share);
  if (share.length !== SHARE || share.at(-1) !== i || !equal(expected, row.hashes[i - 1] as Bytes)) {
    throw new Corrupted(
      `Keeper ${i}'s share is not the one that the owner made.`,
      "Ask another keeper of the committee.",
    );
  }
}
