/**
 * The sentences of the transaction sheet, for each kind of act: what will happen, what it costs, what it cannot undo.
 *
 * They are the same before signing and after a reload, and they promise no more than docs/threat-model.md.
 */

import type { Operation } from "../../api/types.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import { many } from "../words.ts";

export type Words = Pick<Plan, "title" | "will" | "costs" | "cannot" | "button" | "danger" | "opens">;

const FREE = "Nothing. Allod sends the transaction and pays its fee; you only sign.";
export const RELEASED = "A key that was released to a job cannot be recalled, nor an adapter that was trained with it.";

export function publishing(files: number, purposes: number, open: boolean): Words {
  const will = [
    `The keys of ${many(files, "file")} are split among the keepers, so that they can release them to consented jobs.`,
    "Your card becomes public, as you see it in the preview; files, names and notes do not.",
    "The hashes of dataset and terms go on chain under your account.",
  ];
  if (open) {
    will.push(
      `You sign an open offer${purposes > 1 ? ` for each of ${purposes} purposes` : ""}: any trainer may take it, under these terms.`,
    );
  }
  return {
    title: open ? "Publish and offer" : "Publish",
    will,
    costs: FREE,
    cannot: [
      "The hashes on chain stay for ever, and copies of the card may too.",
      open
        ? "You can end the offer at any time, with every token taken from it. A key that was released before cannot be recalled."
        : "Nobody may use it before you approve a request.",
    ],
    button: open ? "Sign, publish and offer" : "Sign and publish",
    opens: true,
  };
}

export function offering(title: string, purposes: number): Words {
  return {
    title: `Offer “${title}” to all`,
    will: [
      `You sign an open offer${purposes > 1 ? ` for each of ${purposes} purposes` : ""}: any trainer may take it, under your terms, and pays you for each job.`,
      "The offer is listed in the catalogue for everybody.",
    ],
    costs: FREE,
    cannot: ["You can end the offer at any time, with every token taken from it.", RELEASED],
    button: "Sign and offer",
    opens: true,
  };
}

export function approving(title: string, changed: boolean): Words {
  return {
    title: changed ? "Approve with changes" : "Approve the request",
    will: [
      `You sign a consent for this one trainer to train on “${title}”, under the terms shown.`,
      ...(changed ? ["The hash of the terms you changed goes on chain beside your dataset."] : []),
      "A consent token is minted to the trainer. It cannot be passed on.",
    ],
    costs: FREE,
    cannot: ["You can revoke it at any time; then no further key is released.", RELEASED],
    button: "Sign the consent",
    opens: true,
  };
}

export function revoking(named: number, offers: number, takers: number): Words {
  const will = ["The keepers are told first: each that stores it releases no further key. Then the chain records it."];
  if (named > 0) will.push(`${many(named, "consent")} for a named trainer end${named === 1 ? "s" : ""}.`);
  if (offers > 0) {
    will.push(
      `${many(offers, "open offer")} end${offers === 1 ? "s" : ""}, and with ${offers === 1 ? "it" : "them"} ${
        takers === 0 ? "any token taken of it" : many(takers, "token") + " that trainers took"
      }.`,
    );
  }
  will.push("A running job stops using the data within 10 seconds or 20 steps, if its runner is honest.");
  return {
    title: named + offers === 1 ? "Revoke this consent" : `Revoke ${named + offers} consents`,
    will,
    costs: `${FREE} You earn nothing more from them; what jobs owe already stays owed.`,
    cannot: [RELEASED, "A revoked consent never comes back. To allow it again, sign a new one."],
    button: "Revoke",
    danger: true,
  };
}

export function revokingAll(live: number): Words {
  return {
    title: "Revoke everything",
    will: [
      `Every consent and offer you ever signed ends at once: ${many(live, "live one")} here, and any that this page does not know.`,
      "The keepers are told first: each that stores it releases no further key. Then the chain records it.",
      "Running jobs stop using your data within 10 seconds or 20 steps, if their runners are honest.",
    ],
    costs: `${FREE} You earn nothing more from them; what jobs owe already stays owed.`,
    cannot: [RELEASED, "Revoked consents never come back. To allow something again, sign new ones."],
    button: "Revoke everything",
    danger: true,
  };
}

export function claiming(amount: string, jobs: number): Words {
  return {
    title: "Have your earnings paid out",
    will: [`${amount} from ${many(jobs, "job")} go from the escrow to the account that your terms name.`],
    costs: FREE,
    cannot: ["A payment is final. Who reads the chain can link it to your account."],
    button: "Claim",
  };
}

/** An act that is under way already: what is known of it is its kind. */
export function planOf(operation: Operation): Plan {
  const words: Record<string, () => Words> = {
    register: () => publishing(1, 1, false),
    grant: () => approving("your dataset", false),
    offer: () => offering("your dataset", 1),
    revoke: () => revoking(1, 0, 0),
    revoke_nonces: () => revoking(0, 1, 0),
    revoke_all: () => revokingAll(0),
    claim: () => claiming("What was claimable", 1),
  };
  const TITLES: Record<string, string> = {
    register: "Publish a dataset",
    grant: "Grant a consent",
    offer: "Offer a dataset",
    revoke: "Revoke consents",
    revoke_nonces: "Revoke offers",
    revoke_all: "Revoke everything",
    claim: "Pay out earnings",
  };
  const found = words[operation.kind]?.() ?? {
    title: operation.kind,
    will: [],
    costs: FREE,
    cannot: [],
    button: "",
  };
  return { ...found, title: TITLES[operation.kind] ?? found.title, act: () => Promise.resolve([operation]) };
}
