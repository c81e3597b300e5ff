/** The recovery kit as a text that still makes sense in ten years, to somebody who never saw this page. */

export interface KitFacts {
  readonly words: readonly string[];
  readonly account: string;
  readonly vaultId: string;
  readonly usesWallet: boolean;
}

export function kitText(facts: KitFacts, origin: string = location.origin, now: Date = new Date()): string {
  const words = facts.words.map((word, place) => `${String(place + 1).padStart(2)} ${word.padEnd(10)}`);
  const rows = Array.from({ length: 6 }, (_, row) => words.slice(4 * row, 4 * row + 4).join(" ").trimEnd());
  return [
    "ALLOD RECOVERY KIT",
    `Made ${now.toISOString().slice(0, 10)} on ${origin}`,
    "",
    "These 24 words are the root key of a vault. They bring back its files, consents and earnings on any device.",
    "Whoever has them has the vault. Keep them on paper, away from your devices, and show them to nobody.",
    "",
    ...rows,
    "",
    `Account  ${facts.account}${facts.usesWallet ? " (in a wallet: you need that wallet too)" : " (hangs on the words)"}`,
    `Vault    ${facts.vaultId}`,
    "",
    "In a browser:         open Allod, choose “Restore a vault”, type the words.",
    "On the command line:  allod vault restore --words-file words.txt",
    "Without any server:   the words and a copy of the sealed blocks are enough.",
    "",
  ].join("\n");
}
