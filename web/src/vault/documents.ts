/** Reading dag-cbor documents strictly: exactly the members a kind has, each of its type and size. */
import type { Bytes } from "./bytes.ts";
import { type CborMap, Link, type Value, decodeCbor, isMap } from "./cbor.ts";
import { Cid } from "./cid.ts";
import { InvalidInput } from "./errors.ts";

/** What every implementation can count exactly. */
export const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/** The members of one document, each read by the type it must have. */
export class Members {
  constructor(
    private readonly what: string,
    private readonly values: CborMap,
  ) {}

  octets(name: string, length?: number): Bytes {
    const value = this.values[name];
    if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) {
      throw this.wrong(name, length === undefined ? "bytes" : `${length} bytes`);
    }
    return value as Bytes;
  }

  number(name: string, low = 0, high = MAX_COUNT): number {
    const value = this.values[name];
    if (typeof value !== "number" || value < low || value > high) {
      throw this.wrong(name, `integer from ${low} to ${high}`);
    }
    return value;
  }

  text(name: string): string {
    const value = this.values[name];
    if (typeof value !== "string") throw this.wrong(name, "text");
    return value;
  }

  cid(name: string): Cid {
    const value = this.values[name];
    if (!(value instanceof Link)) throw this.wrong(name, "link");
    return Cid.parse(value.cid);
  }

  cids(name: string): Cid[] {
    return this.items(name).map((item) => {
      if (!(item instanceof Link)) throw this.wrong(name, "list of links");
      return Cid.parse(item.cid);
    });
  }

  chunks(name: string, length?: number): Bytes[] {
    return this.items(name).map((item) => {
      if (!(item instanceof Uint8Array) || (length !== undefined && item.length !== length)) {
        throw this.wrong(name, "list of bytes");
      }
      return item as Bytes;
    });
  }

  document(name: string): CborMap {
    const value = this.values[name];
    if (!isMap(value)) throw this.wrong(name, "map");
    return value;
  }

  private items(name: string): readonly Value[] {
    const value = this.values[name];
    if (!Array.isArray(value)) throw this.wrong(name, "list");
    return value as readonly Value[];
  }

  private wrong(name: string, wanted: string): InvalidInput {
    return new InvalidInput(`The ${this.what} document has no ${wanted} in its member '${name}'.`);
  }
}

/** The members of a document of version 1 and this kind, which has exactly `names` besides `v` and `kind`. */
export function readDocument(data: Uint8Array, kind: string, names: readonly string[]): Members {
  const value = decodeCbor(data);
  if (!isMap(value) || value["kind"] !== kind) throw new InvalidInput(`The bytes are no ${kind} document.`);
  if (value["v"] !== 1) {
    throw new InvalidInput(
      `The ${kind} document has a version that this program does not know.`,
      "Load the page again; it may be an old one.",
    );
  }
  return readMap(value, kind, ["v", "kind", ...names]);
}

/** The members of a map that has exactly `names`. */
export function readMap(value: Value, what: string, names: readonly string[]): Members {
  if (!isMap(value) || Object.keys(value).length !== names.length || names.some((name) => !(name in value))) {
    throw new InvalidInput(`The ${what} document has other members than it should.`);
  }
  return new Members(what, value);
}
