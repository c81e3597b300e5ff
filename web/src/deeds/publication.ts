/** A publication: header, terms and shares of a dataset under one link, and what its owner signs to register it. */

import type { Bytes } from "../vault/bytes.ts";
import type { Cid } from "../vault/cid.ts";
import { encodeCbor, Link } from "../vault/cbor.ts";
import type { Place } from "./consent.ts";
import { bytesOf, hexOctets, hexOf, type Hex } from "./fields.ts";
import { keccak, sha256 } from "./hashes.ts";
import type { Deed } from "./typed.ts";

/** keccak256(owner ‖ sha256(header)): the dataset's id on chain. */
export function assetOf(owner: Hex, header: Uint8Array): Hex {
  return hexOf(keccak(bytesOf(hexOctets(owner, "The owner", 20)), sha256(header)));
}

/** The publication's dag-cbor block: header (dag-cbor), terms (raw, so that their CID is their hash), share table. */
export function encodePublication(header: Cid, terms: Cid, shares: Cid): Bytes {
  return encodeCbor({ v: 1, kind: "publication", header: Link.to(header), terms: Link.to(terms), shares: Link.to(shares) });
}

/** What the owner signs to put a dataset's header and terms on chain. */
export function registerDeed(place: Pick<Place, "chainId" | "registry">, owner: Hex, header: Uint8Array, terms: Hex): Deed {
  const message = { owner, digest: hexOf(sha256(header)), terms };
  return { kind: "Register", chainId: place.chainId, contract: place.registry, message };
}
