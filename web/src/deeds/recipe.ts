/** The recipe: everything about a fine-tune that a consent may limit and a repetition needs (docs/format/61-job.md). */

import { InvalidInput } from "../vault/errors.ts";
import { decodeJson } from "./canonical.ts";
import { constant, exactList, exactMap, hexOctets, hexOf, integer, isSortedSet, text, UINT16_MAX, type Hex } from "./fields.ts";
import { sha256 } from "./hashes.ts";

export const MAX_EPOCHS = 1000;

export interface Lora {
  readonly r: number;
  readonly alpha: number;
  readonly dropoutPpm: number;
  readonly targets: readonly string[];
}

export interface Recipe {
  readonly baseName: string;
  readonly baseHash: Hex;
  readonly lora: Lora;
  readonly epochs: number;
  readonly seed: number;
  readonly purpose: Hex;
  readonly learningRateNano: number;
  readonly warmupSteps: number;
  readonly batchRows: number;
  readonly sequence: number;
  /** sha256 of the canonical bytes. */
  readonly hash: Hex;
}

const KEYS = [
  "v", "type", "base_model", "method", "lora", "epochs", "seed", "purpose", "learning_rate_nano", "warmup_steps", "batch_rows",
  "sequence",
];

/** A recipe from its canonical JSON, else `InvalidInput`. */
export function decodeRecipe(data: Uint8Array): Recipe {
  const fields = exactMap(decodeJson(data, 64 << 10), KEYS, "The recipe");
  constant(fields.v, 1, "The recipe's version");
  constant(fields.type, "allod/recipe", "The recipe's type");
  constant(fields.method, "lora", "The recipe's method");
  const base = exactMap(fields.base_model, ["name", "hash"], "The recipe's base_model");
  return {
    baseName: text(base.name, "The recipe's base model name", 200),
    baseHash: hexOctets(base.hash, "The recipe's base model hash", 32),
    lora: readLora(fields.lora),
    epochs: integer(fields.epochs, "The recipe's epochs", MAX_EPOCHS, 1),
    seed: integer(fields.seed, "The recipe's seed", Number.MAX_SAFE_INTEGER),
    purpose: hexOctets(fields.purpose, "The recipe's purpose", 32),
    learningRateNano: integer(fields.learning_rate_nano, "The recipe's learning_rate_nano", 1e9, 1),
    warmupSteps: integer(fields.warmup_steps, "The recipe's warmup_steps", 1e9),
    batchRows: integer(fields.batch_rows, "The recipe's batch_rows", UINT16_MAX, 1),
    sequence: integer(fields.sequence, "The recipe's sequence", 2 ** 20, 8),
    hash: hexOf(sha256(data)),
  };
}

function readLora(value: unknown): Lora {
  const lora = exactMap(value, ["r", "alpha", "dropout_ppm", "targets"], "The recipe's lora");
  const targets = exactList(lora.targets, "The recipe's lora.targets", 64, 1).map((target) =>
    text(target, "A target of the recipe", 128),
  );
  if (!isSortedSet(targets)) throw new InvalidInput("A recipe's lora.targets are sorted and named once.");
  return {
    r: integer(lora.r, "The recipe's lora.r", 4096, 1),
    alpha: integer(lora.alpha, "The recipe's lora.alpha", 65536, 1),
    dropoutPpm: integer(lora.dropout_ppm, "The recipe's lora.dropout_ppm", 999_999),
    targets,
  };
}
