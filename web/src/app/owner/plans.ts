/**
 * The sentences of the transaction sheet, for each kind of act: what will happen, what it costs, what it cannot undo.
 *
 * They promise no more than docs/threat-model.md. What they say of terms and consents is made from what is signed.
 */

import type { Operation } from "../../api/types.ts";
import type { Plan } from "../stores/sheet.svelte.ts";
import { count, many } from "../words.ts";

export type Words = Pick<Plan, "title" | "will" | "costs" | "cannot" | "button" | "danger" | "opens">;

const FREE = "Nothing. Allod sends the transaction and pays its fee; you only sign.";
export const RELEASED = "A key that was released to a job cannot be recalled, nor an adapter that was trained with it.";

const NAMED = 8; // files of a dataset that a sheet names

/** What a title stands for: the vault's own files. */
function meaning(title: string, files: readonly string[]): string {
  const rest = files.length - NAMED;
  const names = rest > 0 ? [...files.slice(0, NAMED), `${count(rest)} more`] : files;
  return files.length === 0
    ? `“${title}” has no file in this vault any more.`
    : `“${title}” is ${many(files.length, "file")} of this vault: ${names.join(", ")}.`;
}

/** What is signed, told by itself: `allows` says who may do what, a sentence for each consent, `pays` what a job pays. */
export interface Signed {
  readonly title: string;
  readonly files: readonly string[];
  readonly allows: readonly string[];
  readonly pays: readonly string[];
}

export function publishing({ title, files, allows, pays }: Signed, purposes: number, open: boolean): Words {
  return {
    title: open ? "Publish and offer" : "Publish",
    will: [
      meaning(title, files),
      "Their keys are split among the keepers, so that they can release them to consented jobs.",
      "Your card becomes public, as you see it in the preview; files, names and notes do not.",
      "The hashes of dataset and terms go on chain under your account.",
      open
        ? `You sign an open offer${purposes > 1 ? ` for each of ${purposes} purposes` : ""}, and any trainer may take it.`
        : "Trainers see these terms, and ask you.",
      ...allows,
      ...pays,
    ],
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

export function offering({ title, files, allows, pays }: Signed, purposes: number): Words {
  return {
    title: `Offer “${title}” to all`,
    will: [
      meaning(title, files),
      `You sign an open offer${purposes > 1 ? ` for each of ${purposes} purposes` : ""}: any trainer may take it, and pays you for each job.`,
      ...allows,
      ...pays,
      "The offer is listed in the catalogue for everybody.",
    ],
    costs: FREE,
    cannot: ["You can end the offer at any time, with every token taken from it.", RELEASED],
    button: "Sign and offer",
    opens: true,
  };
}

/** `registers` says that no standing terms fit, so that new ones are signed too. */
export function approving({ title, files, allows, pays }: Signed, changed: boolean, registers: boolean): Words {
  return {
    title: changed ? "Approve with changes" : "Approve the request",
    will: [
      meaning(title, files),
      ...allows.map((sentence) => `You sign a consent: ${sentence}`),
      ...pays,
      ...(registers
        ? [
            "No terms of this dataset say exactly that: you sign new ones too, and their hash goes on chain beside it.",
            `The keys of ${many(files.length, "file")} are shared anew among the keepers, under the new terms.`,
          ]
        : []),
      "A consent token is minted to the trainer. It cannot be passed on.",
    ],
    costs: FREE,
    cannot: ["You can revoke it at any time; then no further key is released.", RELEASED],
    button: "Sign the consent",
    opens: true,
  };
}

/** `sentences` say what each of the consents allowed; `takers` are trainers who took one of the offers. */
export function revoking(sentences: readonly string[], offers: number, takers: number): Words {
  const will = [
    ...sentences.map((sentence) => `This ends: ${sentence}`),
    "The keepers are told first: each that stores it releases no further key. Then the chain records it.",
  ];
  if (offers > 0) {
    will.push(
      `With ${offers === 1 ? "the open offer" : "the open offers"} ${takers > 1 ? "end" : "ends"} ${
        takers === 0 ? `any token taken of ${offers === 1 ? "it" : "them"}` : many(takers, "token") + " that trainers took"
      }.`,
    );
  }
  will.push("A running job stops using the data within 10 seconds or 20 steps, if its runner is honest.");
  return {
    title: sentences.length === 1 ? "Revoke this consent" : `Revoke ${sentences.length} consents`,
    will,
    costs: `${FREE} You earn nothing more from them; what jobs owe already stays owed.`,
    cannot: [RELEASED, "A revoked consent never comes back. To allow it again, sign a new one."],
    button: "Revoke",
    danger: true,
  };
}

/** `live` is how many this page shows that may be live. */
export function revokingAll(live: number): Words {
  const shown = live === 0 ? "" : `${many(live, "consent")} that may be live here, and `;
  return {
    title: "Revoke everything",
    will: [
      `Every consent and offer you ever signed ends at once: ${shown}any that this page does not know.`,
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

const TITLES: Readonly<Record<string, string>> = {
  register: "Publish a dataset",
  grant: "Grant a consent",
  offer: "Offer a dataset",
  revoke: "Revoke consents",
  revoke_nonces: "Revoke offers",
  revoke_all: "Revoke everything",
  claim: "Pay out earnings",
};

/** An act that is under way already: what is known of it is its kind, and it is followed, not signed. */
export function planOf(operation: Operation): Plan {
  const title = TITLES[operation.kind] ?? operation.kind;
  return { title, will: [], costs: "", cannot: [], button: "", act: () => Promise.resolve([operation]) };
}
