/** Ending consents, and being paid: what owners sign and send besides publishing. */

import { call } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { ConsentRow, Hex, Operation, World } from "../../api/types.ts";
import { epochOf, highestPlace, readConsentFields } from "../../deeds/consent.ts";
import { type Revocation, type RevocationBody, revokeAll as endAll, revokeNonces, revokeTokens } from "../../deeds/revocation.ts";
import type { Open } from "./owner.svelte.ts";
import { placeOf, signedConsents } from "./publishing.ts";
import type { Steps } from "./steps.ts";

type Say = (words: string) => void;

/** End these: named consents by their tokens, offers by their nonces, which ends every taker's token too. */
export async function revoke(
  open: Open,
  world: World,
  rows: readonly ConsentRow[],
  steps: Steps,
  say: Say,
): Promise<Operation[]> {
  const owner = open.signer.address;
  const place = placeOf(world);
  const consents = (offers: boolean) =>
    rows.filter((row) => row.is_offer === offers).map((row) => readConsentFields(row.consent));
  const tokens = consents(false).map((one) => [one, one.grantee] as const);
  return await send(open, [...revokeTokens(place, owner, tokens), ...revokeNonces(place, owner, consents(true))], steps, say);
}

/** End every consent of the owner's epoch, those that this page does not know included. */
export async function revokeAll(open: Open, world: World, steps: Steps, say: Say): Promise<Operation[]> {
  const owner = open.signer.address;
  const known = await signedConsents(open);
  const above = highestPlace(owner, known).toString();
  const { nonce } = await call<{ nonce: string }>("POST", "/v1/consent_nonces", { body: { above } });
  const epoch = epochOf({ nonce: BigInt(nonce) });
  if (known.some((one) => epochOf(one) > epoch)) {
    throw Problem.local(
      "unavailable",
      "The server names an epoch from before your newest consent.",
      "Its chain lags, or it lies: try again later, or revoke the consents one by one.",
    );
  }
  return await send(open, [endAll(placeOf(world), owner, epoch)], steps, say);
}

async function send(open: Open, messages: readonly Revocation[], steps: Steps, say: Say): Promise<Operation[]> {
  const operations: Operation[] = [];
  for (const [at, { deed, body }] of messages.entries()) {
    say(open.signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
    const signature = await steps.once(`sign ${at}`, () => open.signer.signDeed(deed));
    say("Telling the keepers…");
    const whole = { ...written(body), signature };
    const path = "/v1/revocations";
    operations.push(
      await steps.once(`send ${at}`, () => call<Operation>("POST", path, { body: whole, key: steps.key(`send ${at}`) })),
    );
  }
  return operations;
}

/** As the API writes it: a mask is 32 bytes. */
function written(body: RevocationBody): RevocationBody {
  if (body.kind !== "revoke_nonces") return body;
  return { ...body, mask: `0x${BigInt(body.mask).toString(16).padStart(64, "0")}` };
}

const MOST = 100; // jobs that one claim may name

/** Have these jobs' earnings paid out; where they are too many to name, all that can be. */
export async function claim(jobs: readonly Hex[], steps: Steps): Promise<Operation[]> {
  const body = { job_ids: jobs.length > MOST ? [] : jobs };
  return [await steps.once("claim", () => call<Operation>("POST", "/v1/claims", { body, key: steps.key("claim") }))];
}
