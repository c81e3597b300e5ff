/** Signing in with Ethereum: the message of EIP-4361, for this page's own origin and no other. */

import { InvalidInput } from "../vault/errors.ts";
import { writeAddress } from "./account.ts";
import { hexOctets, integer, type Hex } from "./fields.ts";

const STATEMENT = "Sign in to Allod. This shows who you are and moves nothing.";
const MINUTES = 10;

/** `origin` is the page's (`location.origin`), `nonce` the server's, `now` Unix seconds. */
export interface SignIn {
  readonly origin: string;
  readonly address: Hex;
  readonly chainId: number;
  readonly nonce: string;
  readonly now: number;
}

/** The text to sign with `personal_sign`. */
export function signInMessage({ origin, address, chainId, nonce, now }: SignIn): string {
  const url = new URL(origin);
  if (url.origin !== origin) throw new InvalidInput("An origin is a scheme, a host and a port.");
  if (!/^[A-Za-z0-9]{8,64}$/.test(nonce)) throw new InvalidInput("The server's nonce is not one of EIP-4361.");
  const time = (seconds: number) => new Date(seconds * 1000).toISOString();
  return [
    `${url.host} wants you to sign in with your Ethereum account:`,
    writeAddress(hexOctets(address, "The account", 20)),
    "",
    STATEMENT,
    "",
    `URI: ${origin}`,
    "Version: 1",
    `Chain ID: ${integer(chainId, "The chain id", Number.MAX_SAFE_INTEGER, 1)}`,
    `Nonce: ${nonce}`,
    `Issued At: ${time(now)}`,
    `Expiration Time: ${time(now + MINUTES * 60)}`,
  ].join("\n");
}
