/** Signing in: a message that names this page, this chain and an end (EIP-4361), signed by the owner's account. */

import { call, get, isSignedIn, useSession } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Session, World } from "../../api/types.ts";
import type { Signer } from "../../deeds/signer.ts";

/** The session that this browser has already, if it is `account`'s. */
export async function resume(account: Hex): Promise<Session | undefined> {
  try {
    const found = await get<Session>("/v1/sessions/current");
    if (found.account !== account) return undefined;
    useSession(found);
    return found;
  } catch (thrown) {
    if (thrown instanceof Problem && (thrown.status === 401 || thrown.status === 403)) return undefined;
    throw thrown;
  }
}

export async function signIn(signer: Signer, world: World): Promise<Session> {
  const { nonce } = await call<{ nonce: string }>("POST", "/v1/nonces");
  const { signInMessage } = await import("../../deeds/siwe.ts");
  const message = signInMessage({
    origin: location.origin,
    address: signer.address,
    chainId: world.chain_id,
    nonce,
    now: Date.now() / 1000,
  });
  const signature = await signer.signText(message);
  const found = await call<Session>("POST", "/v1/sessions", { body: { message, signature } });
  useSession(found);
  return found;
}

/** Best effort: the cookie goes too where the server answers. */
export async function signOut(account: Hex): Promise<void> {
  try {
    if (isSignedIn() || (await resume(account)) !== undefined) await call<undefined>("DELETE", "/v1/sessions/current");
  } catch {
    // The server ends it by itself in time.
  }
  useSession(undefined);
}
