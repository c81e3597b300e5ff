/** Wallets that announced themselves to this page (EIP-6963). No list of ours, and no default one. */

import { Problem } from "../../api/problem.ts";
import type { Hex } from "../../api/types.ts";
import type { Signer } from "../../deeds/signer.ts";
import type { Wallet } from "../../deeds/wallets.ts";
import { world } from "../stores/world.svelte.ts";

class Wallets {
  found: readonly Wallet[] = $state.raw([]);
  readonly #names = new WeakMap<Signer, string>();

  /** Hear of wallets until the function that comes back is called. */
  listen(): () => void {
    let stop = (): void => undefined;
    let left = false;
    void import("../../deeds/wallets.ts").then(({ discoverWallets }) => {
      if (!left) stop = discoverWallets((found) => (this.found = found));
    });
    return () => {
      left = true;
      stop();
    };
  }

  /** Ask the wallet for its account; it asks its owner. */
  async connect(uuid: string): Promise<Signer> {
    const wallet = this.found.find((one) => one.uuid === uuid);
    if (wallet === undefined) throw missing();
    return await this.#connect(wallet);
  }

  /** A wallet's lasting name (its reverse DNS), to be found by after a reload. */
  nameOf(signer: Signer): string {
    return this.#names.get(signer) ?? "";
  }

  /** A signer for `account` that asks its wallet only once it must sign; `name` says which one it was. */
  later(account: Hex, name: string): Signer {
    const stop = this.listen();
    let connecting: Promise<Signer> | undefined;
    const connected = (): Promise<Signer> => {
      connecting ??= this.#find(account, name).finally(stop);
      connecting.catch(() => (connecting = undefined));
      return connecting;
    };
    const signer: Signer = {
      address: account,
      isWallet: true,
      signText: async (text) => await (await connected()).signText(text),
      signDeed: async (deed) => await (await connected()).signDeed(deed),
    };
    this.#names.set(signer, name);
    return signer;
  }

  async #find(account: Hex, name: string): Promise<Signer> {
    for (const wallet of this.found.filter((one) => name === "" || one.rdns === name)) {
      const signer = await this.#connect(wallet);
      if (signer.address === account) return signer;
    }
    throw missing(account);
  }

  async #connect(wallet: Wallet): Promise<Signer> {
    const { connectWallet } = await import("../../deeds/wallets.ts");
    const signer = await connectWallet(wallet, (await world.need()).chain_id);
    this.#names.set(signer, wallet.rdns);
    return signer;
  }
}

function missing(account?: Hex): Problem {
  return Problem.local(
    "unavailable",
    account === undefined ? "That wallet is not in this browser any more." : `No wallet here has the account ${account}.`,
    "Unlock it, choose that account in it, and try again.",
  );
}

export const wallets = new Wallets();
