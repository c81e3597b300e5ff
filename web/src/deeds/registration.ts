/** A dataset's id on chain, and what its owner signs to register it. */

import type { Place } from "./consent.ts";
import { bytesOf, hexOctets, hexOf, octets, type Hex } from "./fields.ts";
import { keccak } from "./hashes.ts";
import type { Deed } from "./typed.ts";

/** keccak256(owner ‖ digest): the dataset's id on chain. `digest` is sha256 of its header. */
export function assetOf(owner: Hex, digest: Uint8Array): Hex {
  return hexOf(keccak(bytesOf(hexOctets(owner, "The owner", 20)), bytesOf(octets(digest, "The dataset's digest", 32))));
}

/** What the owner signs to put a dataset's header, by its `digest`, and terms on chain. */
export function registerDeed(place: Pick<Place, "chainId" | "registry">, owner: Hex, digest: Uint8Array, terms: Hex): Deed {
  const message = { owner, digest: octets(digest, "The dataset's digest", 32), terms };
  return { kind: "Register", chainId: place.chainId, contract: place.registry, message };
}
