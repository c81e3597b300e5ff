/**
 * What this browser keeps between visits: the key file (sealed by the passphrase) and whose wallet signs. One of each.
 *
 * Nothing else of an owner is kept here in the clear. The vault library keeps its own journal of uploads under way.
 * Other tabs write here too, so whatever is written is decided on inside the transaction that writes it.
 */

import { Problem } from "../../api/problem.ts";

const NAME = "allod";
const STORE = "device";
const KEY = "owner";

export interface Kept {
  readonly keyFile: Uint8Array<ArrayBuffer>;
  /** The wallet that signs, by its EIP-6963 name in reverse DNS; absent when the account hangs on the root key. */
  readonly wallet?: string;
  /** What was accepted when the vault came to this device (`pins.ts`). */
  readonly pins: string;
  /** The number of the newest head that this device saw. */
  readonly sequence: number;
}

export const GONE = (): Problem =>
  Problem.local(
    "not-found",
    "The vault is not on this device any more: another tab removed it.",
    "Restore it with your 24 words, or with a saved key file.",
  );
export const ANOTHER = (): Problem =>
  Problem.local(
    "conflict",
    "This device keeps another vault, and a device keeps one.",
    "Remove that one from this device first; its words or a saved key file bring it back.",
  );
export const OTHER_ACCOUNT = (): Problem =>
  Problem.local(
    "conflict",
    "This device's vault signs with another account.",
    "If that account is in a wallet, choose the wallet above. If that vault is another one, remove it from this device first.",
  );
const SILENT = (): Problem =>
  Problem.local(
    "unavailable",
    "This browser does not say what it keeps, so it is not known whether your vault is here.",
    "Try again; if that does not help, close the other tabs of this page, or restart the browser.",
  );

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB did not open"));
  });
}

/** One transaction: `work` has the store and what is kept, and gives what comes of it. */
async function run<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore, before: Kept | undefined) => T,
): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const store = transaction.objectStore(STORE);
      const request = store.get(KEY) as IDBRequest<Kept | undefined>;
      let result: T;
      request.onsuccess = () => (result = work(store, request.result));
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB gave up"));
    });
  } finally {
    database.close();
  }
}

/** What is kept; a `Problem` where the browser does not say, which is never taken for nothing. */
export async function readKept(): Promise<Kept | undefined> {
  return await run("readonly", (_, before) => before).catch(() => {
    throw SILENT();
  });
}

/** The vault and the account that a key file names in the clear; undefined of bytes that are no key file. */
export function namesOf({ keyFile }: Kept): { vault_id: string; address: string } | undefined {
  try {
    const { vault_id, address } = JSON.parse(new TextDecoder().decode(keyFile)) as Record<string, unknown>;
    return typeof vault_id === "string" && typeof address === "string" ? { vault_id, address } : undefined;
  } catch {
    return undefined;
  }
}

/** What never goes back: the newest head's number, and the pins, which may only be added to. */
function carried(before: Kept, next: Kept): Pick<Kept, "pins" | "sequence"> {
  const pins = next.pins.startsWith(`${before.pins} `) ? next.pins : before.pins;
  return { pins, sequence: Math.max(before.sequence, next.sequence) };
}

/**
 * A vault comes to this device, or comes again; undefined, and nothing written, where another vault is kept. Durable
 * once this resolves; the browser is also asked not to evict it when space is short.
 */
export async function keep(next: Kept): Promise<Kept | undefined> {
  const kept = await run("readwrite", (store, before) => {
    const known = before === undefined ? undefined : namesOf(before); // what is no key file may be replaced
    if (known !== undefined && known.vault_id !== namesOf(next)?.vault_id) return undefined;
    const now = before === undefined || known === undefined ? next : { ...next, ...carried(before, next) };
    store.put(now, KEY);
    return now;
  });
  await navigator.storage?.persist?.().catch(() => false);
  return kept;
}

/** News of the vault that is kept; undefined, and nothing written, once it is not kept here any more. */
export async function update(next: Kept): Promise<Kept | undefined> {
  return await run("readwrite", (store, before) => {
    if (before === undefined || namesOf(before)?.vault_id !== namesOf(next)?.vault_id) return undefined;
    const now = { ...before, ...carried(before, next) };
    store.put(now, KEY);
    return now;
  });
}

export async function forget(): Promise<void> {
  await run("readwrite", (store) => store.delete(KEY));
}
