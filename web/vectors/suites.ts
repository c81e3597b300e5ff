import * as blocks from "./blocks.ts";
import { DEEDS } from "./deeds.ts";
import { PEOPLE } from "./people.ts";
import { characters, readers, streams } from "./readers.ts";
import * as vault from "./vault.ts";

/** What one vector came to: its name, and what went wrong if anything did. */
export interface Outcome {
  readonly name: string;
  readonly error: string | null;
}

export type Vectors = Readonly<Record<string, unknown>>;
export type Suite = (vectors: Vectors) => AsyncIterable<Outcome> | Iterable<Outcome>;

/** The suites by the name of their vector file; each part of the page adds its own. */
export const SUITES: Readonly<Record<string, Suite>> = {
  ...blocks,
  ...vault,
  ...DEEDS,
  ...PEOPLE,
  readers,
  streams,
  characters,
};
