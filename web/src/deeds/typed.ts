/**
 * EIP-712: what owners and trainers sign, as the digest for a key of ours and as the document for a wallet.
 *
 * Both come from one table of types. A member of another width is `InvalidInput`, never silently cut.
 */

import { concat, type Bytes } from "../vault/bytes.ts";
import { bigInteger, bytesOf, hexOctets, wordOf, type Hex } from "./fields.ts";
import { keccak } from "./hashes.ts";

type Type = "address" | "bytes32" | "bytes32[]" | "uint16" | "uint32" | "uint40" | "uint96" | "uint256";
type Member = readonly [name: string, type: Type];

const TYPES = {
  Consent: [
    ["owner", "address"],
    ["grantee", "address"],
    ["asset", "bytes32"],
    ["terms", "bytes32"],
    ["purpose", "bytes32"],
    ["runner", "address"],
    ["escrow", "address"],
    ["notBefore", "uint40"],
    ["expiry", "uint40"],
    ["maxUses", "uint16"],
    ["nonce", "uint96"],
  ],
  Revoke: [["owner", "address"], ["ids", "bytes32[]"]],
  RevokeNonces: [["owner", "address"], ["word", "uint256"], ["mask", "uint256"]],
  RevokeAll: [["owner", "address"], ["epoch", "uint32"]],
  Surrender: [["holder", "address"], ["ids", "bytes32[]"]],
  Register: [["owner", "address"], ["digest", "bytes32"], ["terms", "bytes32"]],
} as const satisfies Record<string, readonly Member[]>;

export type Kind = keyof typeof TYPES;
type Held = Hex | number | bigint | readonly Hex[];

/** A message to sign: which of the types, for which contract on which chain, and its members. */
export interface Deed {
  readonly kind: Kind;
  readonly chainId: number;
  readonly contract: Hex;
  readonly message: Readonly<Record<string, Held>>;
}

const DOMAIN: readonly Member[] = [["chainId", "uint256"], ["verifyingContract", "address"]];
const DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const VERSION = "1";

function nameOf(kind: Kind): string {
  return kind === "Register" ? "Allod Registry" : "Allod Consent";
}

function membersOf(kind: Kind): readonly Member[] {
  return TYPES[kind];
}

function encodedType(kind: Kind): string {
  return `${kind}(${membersOf(kind).map(([name, type]) => `${type} ${name}`).join(",")})`;
}

function word(type: Type, value: Held | undefined, name: string): Uint8Array {
  const what = `The signed '${name}'`;
  if (type === "address") return concat(new Uint8Array(12), bytesOf(hexOctets(value, what, 20)));
  if (type === "bytes32") return bytesOf(hexOctets(value, what, 32));
  if (type === "bytes32[]") {
    const items = Array.isArray(value) ? (value as readonly Hex[]) : [];
    return keccak(...items.map((item) => bytesOf(hexOctets(item, what, 32))));
  }
  return wordOf(bigInteger(value, what, (1n << BigInt(type.slice(4))) - 1n));
}

function words(members: readonly Member[], values: Readonly<Record<string, Held>>): Uint8Array[] {
  return members.map(([name, type]) => word(type, values[name], name));
}

/** The 32 bytes that are signed. */
export function digestOf(deed: Deed): Bytes {
  const values = { chainId: deed.chainId, verifyingContract: deed.contract };
  const names = [keccak(nameOf(deed.kind)), keccak(VERSION)];
  const domain = keccak(keccak(DOMAIN_TYPE), ...names, ...words(DOMAIN, values));
  const struct = keccak(keccak(encodedType(deed.kind)), ...words(membersOf(deed.kind), deed.message));
  return keccak(Uint8Array.of(0x19, 0x01), domain, struct);
}

/** The same message as the document that `eth_signTypedData_v4` takes; numbers are decimal texts. */
export function typedData(deed: Deed): Readonly<Record<string, unknown>> {
  const listed = (members: readonly Member[]) => members.map(([name, type]) => ({ name, type }));
  const domain = [{ name: "name", type: "string" }, { name: "version", type: "string" }, ...listed(DOMAIN)];
  const members = membersOf(deed.kind);
  return {
    types: { EIP712Domain: domain, [deed.kind]: listed(members) },
    primaryType: deed.kind,
    domain: { name: nameOf(deed.kind), version: VERSION, chainId: deed.chainId, verifyingContract: deed.contract },
    message: Object.fromEntries(members.map(([name, type]) => [name, plain(type, deed.message[name])])),
  };
}

function plain(type: Type, value: Held | undefined): unknown {
  return type.startsWith("uint") ? String(value) : value;
}
