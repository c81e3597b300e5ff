/** The one sentence that every place shows where an owner decides: where plaintext may exist, and who operates it. */

import type { World } from "../../api/types.ts";

export function plaintextSentence({ committee: { t, n }, operators }: World): string {
  const keepers = [...new Set(operators.keepers)].map(inline).join("; ");
  return (
    `Plaintext of these files may exist on your own devices, on the runner while a consented job trains ` +
    `(${inline(operators.runner)}), and wherever any ${t} of the ${n} keepers join their shares (${keepers}).`
  );
}

/** An operator's sentence inside of another one. */
function inline(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1).replace(/\.$/, "");
}
