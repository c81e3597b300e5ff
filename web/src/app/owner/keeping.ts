/**
 * What this browser keeps between visits: the key file (sealed by the passphrase) and whose wallet signs. One of each.
 *
 * Nothing else of an owner is kept here in the clear. The vault library keeps its own journal of uploads under way.
 */

const NAME = "allod";
const STORE = "device";
const KEY = "owner";

export interface Kept {
  readonly keyFile: Uint8Array<ArrayBuffer>;
  /** The wallet that signs, by its EIP-6963 name in reverse DNS; absent when the account hangs on the root key. */
  readonly wallet?: string;
  /** Chain, contracts and keepers that were accepted when the vault came to this device. */
  readonly pins: string;
  /** The number of the newest head that this device saw. */
  readonly sequence: number;
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB did not open"));
  });
}

async function run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB gave up"));
    });
  } finally {
    database.close();
  }
}

export async function readKept(): Promise<Kept | undefined> {
  return await run<Kept | undefined>("readonly", (store) => store.get(KEY) as IDBRequest<Kept | undefined>);
}

/** Durable once this resolves; the browser is also asked not to evict it when space is short. */
export async function keep(kept: Kept): Promise<void> {
  await run("readwrite", (store) => store.put(kept, KEY));
  await navigator.storage?.persist?.().catch(() => false);
}

export async function forget(): Promise<void> {
  await run("readwrite", (store) => store.delete(KEY));
}
