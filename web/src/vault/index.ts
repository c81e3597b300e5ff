/**
 * The browser's vault: every byte format of docs/format 10, 20, 30, 40 and the publication of 60. No Svelte, no server.
 *
 *   const file = await KeyFile.create(root, passphrase, { address })     store `file.encode()` (IndexedDB)
 *   const root = await KeyFile.decode(bytes).unlock(passphrase)          scrypt runs in a Worker
 *   const vault = await Vault.open(root, file.vaultId, transport)        or with RootKey.fromWords(words)
 *   for (const entry of await vault.entries()) …
 *   for await (const piece of vault.open(entry.objectId)) …              each piece is authenticated
 *   const sealer = new Sealer(vault, transport, (upload) => …)           one for a tab: pause, resume, cancel
 *   sealer.add(file)                                                     goes on with a cut upload of the same file
 *   const dataset = await vault.buildDataset(ids, card)                  register dataset.digest
 *   const publication = await vault.publish(dataset, terms, scope, committee)
 */
export { type Bytes, equal, fromHex, random, toHex } from "./bytes.ts";
export { Link, type Value, decodeCbor, encodeCbor } from "./cbor.ts";
export { Cid, DAG_CBOR, DAG_PB, RAW } from "./cid.ts";
export {
  AllodError,
  Busy,
  Conflict,
  Corrupted,
  Denied,
  InvalidInput,
  NotFound,
  Refused,
  Unavailable,
} from "./errors.ts";
export type * from "./interfaces.ts";
export { HeadMoved, Incomplete } from "./heads.ts";
export { KeyFile } from "./keyfile.ts";
export { RootKey } from "./rootkey.ts";
export { describeFile } from "./describing.ts";
export { type Interrupted, type Phase, Sealer, type Upload } from "./sealing.ts";
export { Vault } from "./vault.ts";
