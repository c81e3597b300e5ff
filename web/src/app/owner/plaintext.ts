/** The one sentence that every place shows where an owner decides: where plaintext may exist, and who operates it. */

import type { World } from "../../api/types.ts";

export function plaintextSentence(world: World): string {
  const { t, n } = world.committee;
  const keepers = [...new Set(world.operators.keepers)];
  const who = keepers.length === 1 ? `all operated by ${keepers[0] ?? ""}` : `operated by ${keepers.join("; ")}`;
  return (
    `Your text exists unsealed on your own devices and, while a consented job trains, on the runner, operated by ` +
    `${world.operators.runner}, who could read it there; and any ${t} of the ${n} keepers (${who}) could open it together.`
  );
}
