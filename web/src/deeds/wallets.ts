/**
 * Wallets: found by EIP-6963 events, spoken to by EIP-1193. No wallet is built in, and `window.ethereum` is not touched.
 *
 * Whatever a wallet says is checked: its account before every signature, its chain before typed data, and the signature.
 */

import { hexOf, hexOctets, type Hex } from "./fields.ts";
import { normalised, personalDigest, recover } from "./account.ts";
import type { Signer } from "./signer.ts";
import { digestOf, typedData, type Deed } from "./typed.ts";
import { utf8 } from "../vault/bytes.ts";
import { AllodError, Busy, Conflict, Denied, InvalidInput, Refused, Unavailable } from "../vault/errors.ts";

/** What EIP-1193 asks of a wallet. */
export interface Provider {
  request(call: { readonly method: string; readonly params?: readonly unknown[] }): Promise<unknown>;
}

/** A wallet that announced itself. `icon` is a data: URI or empty. */
export interface Wallet {
  readonly uuid: string;
  readonly name: string;
  readonly rdns: string;
  readonly icon: string;
  readonly provider: Provider;
}

const MAX_WALLETS = 32;

/** Calls `listener` with all wallets known so far, at each announcement; the answer stops that. */
export function discoverWallets(listener: (wallets: readonly Wallet[]) => void): () => void {
  const found = new Map<string, Wallet>();
  const announced = (event: Event) => {
    const wallet = event instanceof CustomEvent ? readAnnouncement(event.detail) : null;
    if (wallet === null || (found.size >= MAX_WALLETS && !found.has(wallet.uuid))) return;
    found.set(wallet.uuid, wallet);
    listener([...found.values()]);
  };
  window.addEventListener("eip6963:announceProvider", announced);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  return () => window.removeEventListener("eip6963:announceProvider", announced);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isProvider(value: unknown): value is Provider {
  return isObject(value) && typeof value.request === "function";
}

function readAnnouncement(detail: unknown): Wallet | null {
  if (!isObject(detail) || !isObject(detail.info) || !isProvider(detail.provider)) return null;
  const { uuid, name, rdns, icon } = detail.info;
  if (typeof uuid !== "string" || typeof name !== "string" || typeof rdns !== "string") return null;
  if (uuid === "" || uuid.length > 100 || name.trim() === "" || name.length > 100 || rdns.length > 200) return null;
  const shown = typeof icon === "string" && /^data:image\//.test(icon) && icon.length < 1 << 18 ? icon : "";
  return { uuid, name: name.trim(), rdns, icon: shown, provider: detail.provider };
}

/** A signer by the wallet's first account, after its owner agreed. Signs deeds for `chainId` only. */
export async function connectWallet(wallet: Wallet, chainId: number): Promise<WalletSigner> {
  const accounts = readAccounts(await ask(wallet, "eth_requestAccounts"));
  const [address] = accounts;
  if (address === undefined) throw new Denied("The wallet shares no account.", "Unlock it, choose an account and try again.");
  return new WalletSigner(wallet, address, chainId);
}

/** One account of a wallet. */
export class WalletSigner implements Signer {
  readonly isWallet = true;

  constructor(
    readonly wallet: Wallet,
    readonly address: Hex,
    readonly chainId: number,
  ) {}

  async signText(message: string): Promise<Hex> {
    await this.#checkAccount();
    const signature = await ask(this.wallet, "personal_sign", [hexOf(utf8(message)), this.address]);
    return this.#checked(personalDigest(message), signature);
  }

  async signDeed(deed: Deed): Promise<Hex> {
    if (deed.chainId !== this.chainId) throw new InvalidInput("This message is for another chain.");
    await this.#checkAccount();
    await this.#checkChain();
    const signature = await ask(this.wallet, "eth_signTypedData_v4", [this.address, JSON.stringify(typedData(deed))]);
    return this.#checked(digestOf(deed), signature);
  }

  async #checkAccount(): Promise<void> {
    const accounts = readAccounts(await ask(this.wallet, "eth_accounts"));
    if (accounts.includes(this.address)) return;
    throw new Conflict(
      `${this.wallet.name} is at another account than the one you signed in with.`,
      `Choose ${this.address} in the wallet, or sign out and in again.`,
    );
  }

  async #checkChain(): Promise<void> {
    if ((await this.#chain()) === this.chainId) return;
    try {
      const wanted = [{ chainId: `0x${this.chainId.toString(16)}` }];
      await ask(this.wallet, "wallet_switchEthereumChain", wanted);
      if ((await this.#chain()) === this.chainId) return;
    } catch (error) {
      if (!(error instanceof AllodError)) throw error;
    }
    throw new Conflict(
      `${this.wallet.name} is on another chain, and this message counts on chain ${this.chainId} only.`,
      `Switch the wallet to chain ${this.chainId} and sign again.`,
    );
  }

  async #chain(): Promise<number> {
    const told = await ask(this.wallet, "eth_chainId");
    return typeof told === "string" && /^0x[0-9a-f]{1,12}$/i.test(told) ? Number(told) : Number.NaN;
  }

  /** A key's signature in its one form; what no key made may still be a contract's, and the chain decides. */
  #checked(digest: Uint8Array, signature: unknown): Hex {
    if (typeof signature !== "string" || !/^0x([0-9a-f]{2}){1,1024}$/i.test(signature)) {
      throw new Unavailable(`${this.wallet.name} gave no signature.`, "Try again, or use another wallet.");
    }
    const given = signature.toLowerCase() as Hex;
    const ours = normalised(given);
    try {
      return recover(digest, ours) === this.address ? ours : given;
    } catch {
      return given;
    }
  }
}

function readAccounts(value: unknown): Hex[] {
  if (!Array.isArray(value)) throw new Unavailable("The wallet gave no list of accounts.", "Try again, or use another wallet.");
  return value.map((each: unknown) => hexOctets(typeof each === "string" ? each.toLowerCase() : each, "A wallet's account", 20));
}

async function ask(wallet: Wallet, method: string, params: readonly unknown[] = []): Promise<unknown> {
  try {
    return await wallet.provider.request({ method, params });
  } catch (error) {
    throw meaningOf(wallet.name, isObject(error) ? error.code : undefined);
  }
}

/** Every error of EIP-1193 and of JSON-RPC in our words. The wallet's own text is not shown: a page may have forged it. */
function meaningOf(name: string, code: unknown): AllodError {
  switch (code) {
    case 4001:
      return new Refused("You declined in your wallet, and nothing was signed.", "Try again when you are ready.");
    case 4100:
      return new Denied(`${name} does not let this page use that account.`, "Connect the account in the wallet.");
    case 4200:
    case -32601:
      return new Unavailable(`${name} cannot do this.`, "Use a wallet that signs typed data (EIP-712).");
    case 4900:
    case 4901:
      return new Unavailable(`${name} has no connection.`, "Check the wallet's network and try again.");
    case 4902:
      return new Unavailable(`${name} does not know this chain.`, "Add the chain to the wallet and try again.");
    case -32002:
      return new Busy(`${name} still waits for your answer to an earlier question.`, "Open the wallet and answer it.");
    default:
      return new Unavailable(`${name} could not do this.`, "Open the wallet, unlock it and try again.");
  }
}
