/** Keys and key files: what is needed to make a vault, to open one, and to know who signs. Fetched when first needed. */

import type { Hex } from "../../api/types.ts";
import { Account } from "../../deeds/account.ts";
import { localSigner, type Signer } from "../../deeds/signer.ts";
import { fromHex, random, toHex } from "../../vault/bytes.ts";
import { NotFound } from "../../vault/errors.ts";
import { KeyFile } from "../../vault/keyfile.ts";
import { RootKey } from "../../vault/rootkey.ts";
import { Vault } from "../../vault/vault.ts";
import type { Kept } from "./keeping.ts";
import type { Draft, FileRow, Open } from "./owner.svelte.ts";
import { mine, transportOf } from "./transport.ts";
import { wallets } from "./wallets.svelte.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function hex(bytes: Uint8Array): Hex {
  return toHex(bytes) as Hex;
}

async function ownSigner(root: RootKey): Promise<Signer> {
  const key = await root.evmKey();
  try {
    return localSigner(new Account(key));
  } finally {
    key.fill(0);
  }
}

/** A new root key with its words, and an account: the wallet's, or one below the root key. */
export async function newDraft(wallet?: Signer): Promise<Draft> {
  const root = await RootKey.generate();
  return await draftOf(root, wallet ?? (await ownSigner(root)), hex(random(32)));
}

async function draftOf(root: RootKey, signer: Signer, vaultId: Hex): Promise<Draft> {
  const words = await root.words();
  return { words, account: signer.address, vaultId, usesWallet: signer.isWallet, root, signer };
}

/** The vault that these words open on this server; `enter` signs in as whoever signs for it. */
export async function recall(
  words: string,
  wallet: Signer | undefined,
  enter: (signer: Signer) => Promise<void>,
): Promise<Draft> {
  const root = await RootKey.fromWords(words);
  const signer = wallet ?? (await ownSigner(root));
  await enter(signer);
  const found = await mine();
  if (found === null || found.manifest_pk !== hex(await root.manifestPk())) {
    throw new NotFound(
      "There is no vault of these words on this server.",
      wallet === undefined
        ? "If your account was in a wallet, choose that wallet above. If you never uploaded a file, make a new vault."
        : "Choose the account that you used with this vault.",
    );
  }
  return await draftOf(root, signer, found.vault_id);
}

export async function keyFileOf(draft: Draft, passphrase: string): Promise<Bytes> {
  const options = { address: fromHex(draft.account, 20), vaultId: fromHex(draft.vaultId, 32) };
  return (await KeyFile.create(draft.root, passphrase, options)).encode();
}

interface Unlocked {
  readonly root: RootKey;
  readonly account: Hex;
  readonly bytes: Bytes;
}

export async function openKeptFile(bytes: Bytes, passphrase: string): Promise<Unlocked> {
  const file = KeyFile.decode(bytes);
  return { root: await file.unlock(passphrase), account: hex(file.address), bytes };
}

export async function openKeyFile(text: string, passphrase: string): Promise<Unlocked> {
  return await openKeptFile(new TextEncoder().encode(text.trim()), passphrase);
}

/** Account and vault of a key file, which it names in the clear. */
export function facts(kept: Pick<Kept, "keyFile">): { account: Hex; vaultId: Hex } {
  const file = KeyFile.decode(kept.keyFile);
  return { account: hex(file.address), vaultId: hex(file.vaultId) };
}

/** Who signs for `account`: the key below the root key where that is it, else a wallet, which is asked when it must sign. */
export async function signerOf(root: RootKey, account: Hex, wallet: string | undefined): Promise<Signer> {
  const own = await ownSigner(root);
  if (own.address === account) return own;
  return wallets.later(account, wallet ?? "");
}

/** What stays in memory of it: a root key that derives, and shows neither its bytes nor its words. */
export async function openVault(root: RootKey, signer: Signer, vaultId: Hex, sequence: number): Promise<Open> {
  const transport = transportOf(signer.address);
  const vault = await Vault.open(RootKey.fromHandle(root.handle), fromHex(vaultId, 32), transport, sequence);
  return { vault, signer, transport };
}

export async function rowsOf(vault: Vault): Promise<FileRow[]> {
  const entries = await vault.entries();
  return entries.map((entry) => ({
    id: hex(entry.objectId),
    name: entry.name,
    type: entry.mediaType,
    size: entry.size,
    added: entry.added,
    records: entry.records,
    broken: entry.broken,
    payload: entry.payload.toString(),
    published: entry.datasets.map(hex),
  }));
}

