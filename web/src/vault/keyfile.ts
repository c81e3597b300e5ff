/** The key file: a vault's root key, locked by any number of passphrases (docs/format/30-vault.md). */
import { type Bytes, EMPTY, concat, equal, fromHex, fromUtf8, random, toHex, utf8 } from "./bytes.ts";
import { Conflict, Corrupted, Denied, InvalidInput } from "./errors.ts";
import { RootKey, hkdf } from "./rootkey.ts";
import { stretch } from "./stretching.ts";
import { openWith, sealWith } from "./wrapping.ts";

const MAX_SLOTS = 32;
const LIMIT = 1 << 20;
const SLOT_LABEL = "allod/slot/v1\0";

/** scrypt's cost: `n` a power of two, memory 128·n·r bytes. The default takes 128 MiB. */
export interface Cost {
  readonly n: number;
  readonly r: number;
  readonly p: number;
}

const COST: Cost = { n: 1 << 17, r: 8, p: 1 };

/** One lock on the root key: who stretches the right passphrase over `salt` can open `sealed`. */
export interface Slot {
  readonly id: Bytes;
  readonly salt: Bytes;
  readonly cost: Cost;
  readonly sealed: Bytes;
}

export class KeyFile {
  private constructor(
    readonly vaultId: Bytes,
    readonly manifestPk: Bytes,
    readonly address: Bytes,
    readonly slots: readonly Slot[],
  ) {}

  /** A key file with one passphrase slot; without `vaultId`, for a new vault. */
  static async create(
    root: RootKey,
    passphrase: string,
    options: { readonly address: Bytes; readonly vaultId?: Bytes; readonly cost?: Cost },
  ): Promise<KeyFile> {
    if (options.address.length !== 20) throw new InvalidInput("An address has 20 bytes.");
    const empty = new KeyFile(options.vaultId ?? random(32), await root.manifestPk(), options.address, []);
    return await empty.addSlot(root, passphrase, options.cost);
  }

  /** The root key, or `Denied` if no slot opens with this passphrase. */
  async unlock(passphrase: string): Promise<RootKey> {
    for (const slot of this.slots) {
      const lock = await stretch(passphrase, slot.salt, slot.cost);
      const raw = await openWith(await this.slotKey(lock, slot.id), slot.sealed, this.head());
      if (raw === null) continue;
      const root = await RootKey.fromBytes(raw);
      if (!equal(await root.manifestPk(), this.manifestPk)) {
        throw new Corrupted(
          "The key file names another vault's manifest key.",
          "Restore it from the 24 recovery words.",
        );
      }
      return root;
    }
    throw new Denied(
      "The passphrase is wrong, or the key file was changed.",
      "Try again; if it is lost, restore the vault from the 24 recovery words.",
    );
  }

  /** The key file with one passphrase more. `root` must be this vault's. */
  async addSlot(root: RootKey, passphrase: string, cost: Cost = COST): Promise<KeyFile> {
    if (!equal(await root.manifestPk(), this.manifestPk)) {
      throw new Denied("That root key belongs to another vault.", "Unlock this vault first.");
    }
    if (this.slots.length === MAX_SLOTS) {
      throw new Conflict(`A key file has at most ${MAX_SLOTS} slots.`, "Remove one first.");
    }
    const [id, salt] = [random(32), random(32)];
    const key = await this.slotKey(await stretch(passphrase, salt, cost), id);
    const sealed = await sealWith(key, root.reveal(), this.head());
    return new KeyFile(this.vaultId, this.manifestPk, this.address, [...this.slots, { id, salt, cost, sealed }]);
  }

  /** The file's bytes: canonical JSON (RFC 8785). */
  encode(): Bytes {
    const slots = this.slots.map(({ id, salt, cost, sealed }) => ({
      id: toHex(id),
      kind: "passphrase",
      salt: toHex(salt),
      scrypt: { n: cost.n, p: cost.p, r: cost.r },
      sealed: toHex(sealed),
    }));
    const { address, manifest_pk, type, v, vault_id } = this.publicPart();
    return utf8(JSON.stringify({ address, manifest_pk, slots, type, v, vault_id }));
  }

  /** A key file from its bytes, or `InvalidInput`. */
  static decode(data: Bytes): KeyFile {
    if (data.length > LIMIT) throw new InvalidInput(`Document of ${data.length} bytes; at most ${LIMIT} are accepted.`);
    let value: unknown;
    try {
      value = JSON.parse(fromUtf8(data));
    } catch {
      throw new InvalidInput("Not a JSON document.");
    }
    const file = members(value, ["address", "manifest_pk", "slots", "type", "v", "vault_id"]);
    if (file["v"] !== 1 || file["type"] !== "allod/keyfile") {
      throw new InvalidInput("The key file has a version that this program does not know.");
    }
    const slots: unknown = file["slots"];
    if (!Array.isArray(slots) || slots.length === 0 || slots.length > MAX_SLOTS) {
      throw new InvalidInput(`A key file has between 1 and ${MAX_SLOTS} slots.`);
    }
    const read = new KeyFile(
      fromHex(file["vault_id"], 32),
      fromHex(file["manifest_pk"], 32),
      fromHex(file["address"], 20),
      slots.map(readSlot),
    );
    if (!equal(read.encode(), data)) throw new InvalidInput("The key file is not in canonical form (RFC 8785).");
    return read;
  }

  private publicPart(): { address: string; manifest_pk: string; type: string; v: number; vault_id: string } {
    return {
      address: toHex(this.address),
      manifest_pk: toHex(this.manifestPk),
      type: "allod/keyfile",
      v: 1,
      vault_id: toHex(this.vaultId),
    };
  }

  private head(): Bytes {
    return utf8(JSON.stringify(this.publicPart()));
  }

  private async slotKey(lock: Bytes, id: Bytes): Promise<Bytes> {
    return await hkdf(lock, EMPTY, concat(utf8(SLOT_LABEL), this.vaultId, id));
  }
}

function readSlot(value: unknown): Slot {
  const slot = members(value, ["id", "kind", "salt", "scrypt", "sealed"]);
  if (slot["kind"] !== "passphrase") {
    throw new InvalidInput("The key file has a slot of a kind that this program does not know.");
  }
  const { n, r, p } = members(slot["scrypt"], ["n", "p", "r"]);
  const cost = { n: whole(n), r: whole(r), p: whole(p) };
  // An upper bound too: a foreign key file must not be able to ask for all memory.
  const power = cost.n >= 1 << 10 && cost.n <= 1 << 20 && (cost.n & (cost.n - 1)) === 0;
  if (!power || cost.r !== 8 || cost.p < 1 || cost.p > 4) {
    throw new InvalidInput("The passphrase slot asks for a scrypt cost that is out of bounds.");
  }
  return { id: fromHex(slot["id"], 32), salt: fromHex(slot["salt"], 32), cost, sealed: fromHex(slot["sealed"], 60) };
}

function whole(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new InvalidInput("A slot's scrypt cost is not made of integers.");
  }
  return value;
}

function members(value: unknown, names: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Object.keys(value).sort().join() !== [...names].sort().join()) {
    throw new InvalidInput("The key file has other members than it should.");
  }
  return value as Readonly<Record<string, unknown>>;
}
