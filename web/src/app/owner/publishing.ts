/** Publishing a dataset, offering it, and approving a request: shares, records, signatures, in that order. */

import { call } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Operation, World } from "../../api/types.ts";
import type { Card } from "../../deeds/card.ts";
import { forSharing, readCommittee } from "../../deeds/committee.ts";
import {
  checkNonce,
  consentDeed,
  type Draft,
  draftConsent,
  encodeConsent,
  highestPlace,
  writeConsentFields,
} from "../../deeds/consent.ts";
import { assetOf, registerDeed } from "../../deeds/registration.ts";
import { encodeTerms, type Terms, termsHash } from "../../deeds/terms.ts";
import { fromHex } from "../../vault/bytes.ts";
import { Link } from "../../vault/cbor.ts";
import type { BuiltDataset, Cid } from "../../vault/index.ts";
import { alone, within } from "./alone.ts";
import { placeOf } from "./here.ts";
import { CONSENT, DATASET, signedConsents, timesShared } from "./owned.ts";
import type { Open } from "./owner.svelte.ts";
import type { Steps } from "./steps.ts";

type Say = (words: string) => void;

const LONGEST = 60; // seconds for a step during which other tabs wait

interface Publication {
  readonly ids: readonly Hex[];
  readonly card: Card;
  readonly terms: Terms;
  readonly isOpen: boolean;
}

/** Build, share, keep, register; then an open offer for each purpose, if it is to be open. */
export async function publish(open: Open, world: World, wanted: Publication, steps: Steps, say: Say): Promise<Operation[]> {
  const { terms, card } = wanted;
  say("Putting the dataset together…");
  const built = await steps.once("dataset", () =>
    open.vault.buildDataset(wanted.ids.map((id) => fromHex(id, 32)), { ...card }),
  );
  const registered = await register(open, world, built, terms, steps, say);
  if (!wanted.isOpen) return [registered];
  const [owner, { escrow }] = [open.signer.address, placeOf(world)];
  const asset = assetOf(owner, built.digest);
  const now = Date.now() / 1000;
  const drafts = terms.purposes.map((purpose) =>
    draftConsent({ owner, grantee: null, asset, terms, purpose, escrow, now }),
  );
  return [registered, ...(await offer(open, world, drafts, steps, say))];
}

/** These open offers. */
export async function offer(
  open: Open,
  world: World,
  drafts: readonly Draft[],
  steps: Steps,
  say: Say,
): Promise<Operation[]> {
  const operations: Operation[] = [];
  for (const draft of drafts) operations.push(await consent(open, world, draft, null, steps, say));
  return operations;
}

interface Approval {
  readonly draft: Draft;
  readonly request: string;
  readonly terms: Terms;
  /** The dataset to register under the terms first; null where they stand already. */
  readonly built: BuiltDataset | null;
}

/** A consent for the trainer who asked, with new terms before it where they are needed. */
export async function approve(open: Open, world: World, wanted: Approval, steps: Steps, say: Say): Promise<Operation[]> {
  const { built, terms, draft, request } = wanted;
  const registered = built === null ? [] : [await register(open, world, built, terms, steps, say)];
  return [...registered, await consent(open, world, draft, request, steps, say)];
}

/** Share the keys, keep the record, sign and send the registration of these terms. */
async function register(
  open: Open,
  world: World,
  built: BuiltDataset,
  terms: Terms,
  steps: Steps,
  say: Say,
): Promise<Operation> {
  const { signer, vault } = open;
  const place = placeOf(world);
  const asset = assetOf(signer.address, built.digest);
  const encoded = encodeTerms(terms);
  const told = readCommittee(world.committee.document, world.committee); // signed by each of its keepers
  if (told.end <= Date.now() / 1000) {
    throw Problem.local("refused", "The term of these keepers is over.", "Ask who operates this server for the new committee.");
  }
  const committee = forSharing(told);
  const scope = {
    chainId: place.chainId,
    token: fromHex(place.consentToken, 20),
    owner: fromHex(signer.address, 20),
    asset: fromHex(asset, 32),
  };
  say("Sharing the keys among the keepers…");
  const publication = await steps.once<Cid>("shares", async () =>
    vault.publish(built, encoded, scope, committee, (await timesShared(open, asset)) + 1),
  );
  await steps.once("record", () =>
    vault.saveRecord(DATASET, {
      asset: scope.asset,
      publication: Link.to(publication),
      terms: encoded,
      committee: committee.id,
    }),
  );
  say(signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
  const signature = await steps.once("registration", () =>
    signer.signDeed(registerDeed(place, signer.address, built.digest, termsHash(terms))),
  );
  say("Sending…");
  return await steps.send("register", "/v1/datasets", { publication: publication.toString(), signature });
}

/** Sign this consent with a nonce of its own, keep it in the vault, then send it. */
async function consent(
  open: Open,
  world: World,
  draft: Draft,
  request: string | null,
  steps: Steps,
  say: Say,
): Promise<Operation> {
  const { signer, vault } = open;
  const place = placeOf(world);
  const name = `consent ${draft.purpose}`;
  // One tab at a time, and above what other devices kept: two consents of one nonce would end each other.
  const signed = await steps.once(`${name}, kept`, () =>
    alone(signer.address, say, async () => {
      const made = await steps.once(name, async () => {
        const consent = await within(LONGEST, async (signal) => {
          await vault.refresh(signal);
          const known = await signedConsents(open);
          const body = { above: highestPlace(signer.address, known).toString() };
          const { nonce } = await call<{ nonce: string }>("POST", "/v1/consent_nonces", { body, signal });
          return { ...draft, nonce: checkNonce(nonce, signer.address, known) };
        });
        say(signer.isWallet ? "Continue in your wallet…" : "Signing on this device…");
        return { consent, signature: await signer.signDeed(consentDeed(place, consent)) };
      });
      const record = { consent: encodeConsent(made.consent), signature: fromHex(made.signature) };
      await within(LONGEST, (signal) => vault.saveRecord(CONSENT, record, signal));
      return made;
    }),
  );
  say("Sending…");
  return await steps.send(name, "/v1/consents", {
    consent: writeConsentFields(signed.consent),
    signature: signed.signature,
    request,
  });
}
