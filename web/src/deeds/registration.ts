/** A dataset's id on chain, and what its owner signs to register it. */

import type { Place } from "./consent.ts";
import { bytesOf, hexOctets, hexOf, type Hex } from "./fields.ts";
import { keccak, sha256 } from "./hashes.ts";
import type { Deed } from "./typed.ts";

/** keccak256(owner ‖ sha256(header)): the dataset's id on chain. */
export function assetOf(owner: Hex, header: Uint8Array): Hex {
  return hexOf(keccak(bytesOf(hexOctets(owner, "The owner", 20)), sha256(header)));
}

/** What the owner signs to put a dataset's header and terms on chain. */
export function registerDeed(place: Pick<Place, "chainId" | "registry">, owner: Hex, header: Uint8Array, terms: Hex): Deed {
  const message = { owner, digest: hexOf(sha256(header)), terms };
  return { kind: "Register", chainId: place.chainId, contract: place.registry, message };
}
