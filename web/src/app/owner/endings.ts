/**
 * Revocations that the server accepted, as the vault keeps them (docs/format/30-vault.md): they tell of consents of
 * which the server says nothing, because it never took them or because it lies.
 */

import type { Hex } from "../../api/types.ts";
import { bitOf, type Consent, encodeConsent, epochOf, readConsentFields, wordOfNonce } from "../../deeds/consent.ts";
import type { RevocationBody } from "../../deeds/revocation.ts";
import { bigEndian, fromHex, toHex } from "../../vault/bytes.ts";
import type { Body } from "../../vault/index.ts";
import { within } from "./alone.ts";
import type { Open } from "./owner.svelte.ts";

const REVOCATION = "revocation";
const LONGEST = 20; // seconds

/** Keep one that was accepted. A vault that cannot be changed now ends no revocation: its consents stay unknown here. */
export async function keepRevocation({ vault }: Open, body: RevocationBody, signature: Hex): Promise<void> {
  const record = { ...recordOf(body), signature: fromHex(signature) };
  await within(LONGEST, (signal) => vault.saveRecord(REVOCATION, record, signal)).catch(() => undefined);
}

function recordOf(body: RevocationBody): Body {
  switch (body.kind) {
    case "revoke":
      return { kind: body.kind, consents: body.consents.map((fields) => encodeConsent(readConsentFields(fields))) };
    case "revoke_nonces":
      return { kind: body.kind, word: bigEndian(BigInt(body.word), 7), mask: bigEndian(BigInt(body.mask), 32) };
    case "revoke_all":
      return { kind: body.kind, epoch: body.epoch };
  }
}

/** Whether one of the revocations that the vault keeps ended a consent. */
export async function keptEndings({ vault }: Open): Promise<(consent: Consent) => boolean> {
  const { records } = await vault.readableRecords();
  const [named, masks] = [new Set<string>(), new Map<bigint, bigint>()];
  let epoch = -1;
  for (const { body } of records.filter(({ kind }) => kind === REVOCATION)) {
    if (Array.isArray(body["consents"])) for (const one of body["consents"]) named.add(hexOf(one));
    if (typeof body["epoch"] === "number") epoch = Math.max(epoch, body["epoch"]);
    if (body["word"] === undefined) continue;
    const [word, mask] = [BigInt(hexOf(body["word"])), BigInt(hexOf(body["mask"]))];
    masks.set(word, (masks.get(word) ?? 0n) | mask);
  }
  return (consent) =>
    epochOf(consent) <= epoch ||
    (((masks.get(wordOfNonce(consent)) ?? 0n) >> BigInt(bitOf(consent))) & 1n) === 1n ||
    named.has(toHex(encodeConsent(consent)));
}

function hexOf(value: unknown): string {
  return toHex(value instanceof Uint8Array && value.length > 0 ? value : new Uint8Array(1));
}
