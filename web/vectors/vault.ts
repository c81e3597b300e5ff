/** The vectors of docs/format 10 to 40, each run by the code that the page ships. */
import { type Bytes, concat, equal, fromHex, toHex, utf8 } from "../src/vault/bytes.ts";
import { MemoryBlocks } from "../src/vault/blocks.ts";
import { readCar, writeCar } from "../src/vault/car.ts";
import { Link, decodeCbor, encodeCbor } from "../src/vault/cbor.ts";
import { Cid, DAG_CBOR, RAW, digest, hash } from "../src/vault/cid.ts";
import { decodeCard, decodePublication, encodePublication, memberCids } from "../src/vault/datasets.ts";
import { openRecord, readEntry } from "../src/vault/entry.ts";
import { prove } from "../src/vault/heads.ts";
import { hpkeOpen, hpkeSeal, suite } from "../src/vault/hpke.ts";
import { KeyFile } from "../src/vault/keyfile.ts";
import {
  datasetTree,
  decodeHead,
  decodeHeader,
  decodeManifest,
  decodePage,
  encodeHead,
  encodeHeader,
  encodeManifest,
} from "../src/vault/manifest.ts";
import { Tree, verify } from "../src/vault/merkle.ts";
import { DEK_LABEL, META_LABEL, RECORD_LABEL, RootKey } from "../src/vault/rootkey.ts";
import {
  Opener,
  SEGMENT,
  SegmentKey,
  associatedData,
  ciphertextSize,
  dekCommitment,
  plaintextSize,
  plaintextStart,
  segmentCount,
} from "../src/vault/segments.ts";
import { combine, splitWith } from "../src/vault/shares.ts";
import { context, openRelease, openShare, recoverDek } from "../src/vault/sharing.ts";
import {
  decodeShareHead,
  decodeShareRow,
  encodeShareHead,
  encodeShareRow,
  verifyShareHead,
  verifyShareRow,
} from "../src/vault/sharetable.ts";
import { FileBuilder, decodeNode, leaves } from "../src/vault/unixfs.ts";
import { openPayload } from "../src/vault/vault.ts";
import { unwrap } from "../src/vault/wrapping.ts";
import { outcome, refused, same, withBytes } from "./checking.ts";
import type { Outcome, Vectors } from "./suites.ts";

type Check = readonly [name: string, check: () => unknown];

function suiteOf<V>(checks: (vectors: V) => Iterable<Check>): (vectors: Vectors) => AsyncGenerator<Outcome> {
  return async function* (vectors) {
    for (const [name, check] of checks(withBytes<V>(vectors))) yield await outcome(name, check);
  };
}

/** The payload format's plaintext of known answers: byte i is (7 i + 3) mod 256. */
function pattern(size: number): Bytes {
  return Uint8Array.from({ length: size }, (_, i) => (7 * i + 3) & 255);
}

const bare = (text: string) => fromHex(`0x${text}`);

interface PayloadVectors {
  tink: {
    dek: string;
    salt: string;
    prefix: string;
    associated_data: string;
    objects: { plaintext_size: number; size: number; tag?: string; sha256?: string }[];
  };
  place: { vault_id: string; object_id: string; dek: string; associated_data: string; dek_commit: string };
  sizes: [number, number, number][] | { plaintext_size: number; size: number; segments: number }[];
  impossible_sizes: number[];
}

/** Known answers of sealing, and sizes. */
export const payload = suiteOf<PayloadVectors>(function* ({ tink, place, sizes, impossible_sizes }) {
  for (const known of tink.objects) {
    yield [
      `sealed ${known.plaintext_size} bytes as Tink`,
      async () => {
        const header = concat(new Uint8Array([0x28]), bare(tink.salt), bare(tink.prefix));
        const key = await SegmentKey.derive(bare(tink.dek), header, bare(tink.associated_data));
        const plain = pattern(known.plaintext_size);
        const count = segmentCount(ciphertextSize(plain.length));
        const parts: Bytes[] = [];
        for (let i = 0; i < count; i++) {
          parts.push(await key.seal(i, i === count - 1, plain.slice(plaintextStart(i), plaintextStart(i + 1))));
        }
        const sealed = concat(...parts);
        same(sealed.length, known.size, "size");
        if (known.tag !== undefined) same(toHex(sealed.slice(-16)), `0x${known.tag}`, "tag");
        if (known.sha256 !== undefined) same(toHex(hash(sealed)), `0x${known.sha256}`, "sha256");
      },
    ];
  }
  yield [
    "place",
    async () => {
      const [vaultId, objectId] = [bare(place.vault_id), bare(place.object_id)];
      same(associatedData(vaultId, objectId), `0x${place.associated_data}`, "associated data");
      same(await dekCommitment(bare(place.dek), vaultId, objectId), `0x${place.dek_commit}`, "commitment");
    },
  ];
  for (const row of sizes) {
    const [plain, size, segments] = Array.isArray(row) ? row : [row.plaintext_size, row.size, row.segments];
    yield [
      `${plain} bytes of plaintext`,
      () => {
        same([ciphertextSize(plain), plaintextSize(size), segmentCount(size)], [size, plain, segments], "sizes");
      },
    ];
  }
  for (const size of impossible_sizes)
    yield [`no payload has ${size} bytes`, () => refused(() => segmentCount(size), "corrupted")];
});

interface PayloadFile {
  name: string;
  expect: "success" | "size" | "key" | "payload";
  vault_id: Bytes;
  object_id: Bytes;
  dek: Bytes;
  commit: Bytes;
  size: number;
  opens: Record<string, string>;
  body: string; // base64 of zlib
}

/** One failure per file: what may not be released is not, neither segment by segment nor as a stream. */
export const payloads = suiteOf<{ files: PayloadFile[] }>(function* ({ files }) {
  for (const file of files) {
    yield [`${file.name}: segments`, async () => await bySegments(file, await inflated(file.body))];
    yield [`${file.name}: stream`, async () => await byStream(file, await inflated(file.body))];
  }
});

async function bySegments(file: PayloadFile, body: Bytes): Promise<void> {
  const begin = () => Opener.create(file.dek, file.vault_id, file.object_id, file.size, file.commit);
  if (file.expect === "size" || file.expect === "key") return await refused(begin, "corrupted");
  const opener = await begin();
  const released: string[] = [];
  const read = async () => {
    for (let i = 0; i < opener.segments; i++) {
      const end = i < opener.segments - 1 ? (i + 1) * SEGMENT : body.length;
      released.push(toHex(await digest(await opener.openSegment(i, body.slice(i * SEGMENT, end)))));
    }
  };
  if (file.expect === "success") await read();
  else await refused(read, "corrupted");
  releasedAsAllowed(file, released);
}

async function byStream(file: PayloadFile, body: Bytes): Promise<void> {
  const store = new MemoryBlocks();
  const builder = new FileBuilder((cid, block) => void store.put(cid, block));
  for (let at = 0; at < body.length; at += SEGMENT) {
    const leaf = body.slice(at, at + SEGMENT);
    const cid = await Cid.ofLarge(RAW, leaf);
    await store.put(cid, leaf);
    builder.add(cid, leaf.length);
  }
  const { root } = builder.finish();
  const released: string[] = [];
  const read = async () => {
    const opener = await Opener.create(file.dek, file.vault_id, file.object_id, file.size, file.commit);
    for await (const piece of openPayload(opener, root, (cid) => store.get(cid)))
      released.push(toHex(await digest(piece)));
  };
  if (file.expect === "success") await read();
  else await refused(read, "corrupted");
  releasedAsAllowed(file, released);
  if (file.expect === "size" || file.expect === "key") same(released, [], "released");
}

function releasedAsAllowed(file: PayloadFile, released: readonly string[]): void {
  const allowed: string[] = [];
  for (let i = 0; file.opens[String(i)] !== undefined; i++) allowed.push(`0x${file.opens[String(i)]}`);
  same(released, file.expect === "success" ? allowed : allowed.slice(0, released.length), "released");
}

async function inflated(base64: string): Promise<Bytes> {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** CIDs of files from their leaves, and spellings that are none. */
export const cid = suiteOf<{
  files: { name: string; size: number; cid: string; leaves: [Bytes, number][]; content?: string }[];
  refused: { why: string; text: string }[];
}>(function* (vectors) {
  for (const file of vectors.files) {
    yield [
      file.name,
      () => {
        const builder = new FileBuilder(() => undefined);
        for (const [digest, size] of file.leaves) builder.add(Cid.make(RAW, digest), size);
        const { root, size } = builder.finish();
        same([root.toString(), size], [file.cid, file.size], "root and size");
        same(Cid.parse(file.cid).toString(), file.cid, "text");
        same(Cid.parse(root.bytes), root, "binary form");
        if (file.content !== undefined) same(Cid.of(RAW, utf8(file.content)), file.cid, "of its content");
      },
    ];
  }
  for (const { why, text } of vectors.refused)
    yield [`refused: ${why}`, () => refused(() => Cid.parse(text), "invalid-input")];
  for (const length of [0, 35, 37]) {
    yield [`${length} bytes are no CID`, () => refused(() => Cid.parse(new Uint8Array(length)), "invalid-input")];
  }
});

export const keys = suiteOf<{
  words: { root: Bytes; words: string }[];
  refused: { about: string; words: string }[];
  derived: Record<string, Bytes>;
  wrap: { plain: Bytes; wrap: Bytes };
  key_file: { passphrase: string; file: string; root: Bytes };
}>(function* ({ words, refused: others, derived, wrap, key_file }) {
  const of = (name: string) => derived[name] as Bytes;
  for (const [at, known] of words.entries()) {
    yield [
      `words ${at}`,
      async () => {
        const root = await RootKey.fromBytes(known.root);
        same((await root.words()).join(" "), known.words, "words");
        same(
          (await RootKey.fromWords(`  ${known.words.toUpperCase().replaceAll(" ", "\n ")} `)).reveal(),
          known.root,
          "root",
        );
      },
    ];
  }
  for (const { about, words: given } of others) {
    yield [`refused: ${about}`, () => refused(() => RootKey.fromWords(given), "invalid-input")];
  }
  yield [
    "derived keys",
    async () => {
      const root = await RootKey.fromBytes(of("root"));
      same(await root.manifestPk(), of("manifest_pk"), "manifest_pk");
      same(await root.derive("allod/manifest-sign/v1"), of("manifest_sign_seed"), "seed");
      same(await root.evmKey(), of("evm_key"), "evm key");
      for (const [label, name] of [
        [DEK_LABEL, "wrap_key"],
        [META_LABEL, "meta_key"],
        [RECORD_LABEL, "record_key"],
      ] as const) {
        same(await root.derive(label, of("vault_id"), of("object_id")), of(name), name);
      }
      const copy = RootKey.fromHandle(root.handle);
      same(await copy.manifestPk(), of("manifest_pk"), "of a handle");
      await refused(() => copy.reveal(), "invalid-input");
    },
  ];
  yield [
    "wrap",
    async () => {
      const root = await RootKey.fromBytes(of("root"));
      same(await unwrap(root, DEK_LABEL, of("vault_id"), of("object_id"), wrap.wrap), wrap.plain, "plain");
      await refused(() => unwrap(root, META_LABEL, of("vault_id"), of("object_id"), wrap.wrap), "corrupted");
      await refused(() => unwrap(root, DEK_LABEL, of("object_id"), of("object_id"), wrap.wrap), "corrupted");
      await refused(
        () => unwrap(root, DEK_LABEL, of("vault_id"), of("object_id"), wrap.wrap.slice(0, 27)),
        "corrupted",
      );
    },
  ];
  yield [
    "key file",
    async () => {
      const file = KeyFile.decode(utf8(key_file.file));
      same((await file.unlock(key_file.passphrase)).reveal(), key_file.root, "root");
      same(file.encode(), utf8(key_file.file), "bytes");
      await refused(() => file.unlock("another passphrase"), "denied");
      await refused(() => file.unlock(""), "invalid-input");
      const moved = KeyFile.decode(utf8(key_file.file.replaceAll(`0x${"11".repeat(20)}`, `0x${"22".repeat(20)}`)));
      await refused(() => moved.unlock(key_file.passphrase), "denied");
    },
  ];
  const spoilt: Record<string, (text: string) => string> = {
    "a space": (text) => text.replace("{", "{ "),
    "upper case": (text) => text.replace(/"address":"0x1/, '"address":"0X1'),
    "a member too many": (text) => text.replace('"v":1', '"u":1,"v":1'),
    "version 2": (text) => text.replace('"v":1,', '"v":2,'),
    "no slot": (text) => text.replace(/"slots":\[.*\],"type"/, '"slots":[],"type"'),
    "a cost beyond bounds": (text) => text.replace('"n":1024', '"n":2097152'),
    "a cost that is no power of two": (text) => text.replace('"n":1024', '"n":1025'),
    "no JSON": (text) => text.slice(1),
  };
  for (const [about, spoil] of Object.entries(spoilt)) {
    yield [
      `key file refused: ${about}`,
      () => refused(() => KeyFile.decode(utf8(spoil(key_file.file))), "invalid-input"),
    ];
  }
  yield [
    "key file of our own",
    async () => {
      const root = await RootKey.generate();
      const address = new Uint8Array(20).fill(7);
      const cost = { n: 1024, r: 8, p: 1 };
      const one = await KeyFile.create(root, "first", { address, cost });
      const two = await KeyFile.decode(one.encode()).addSlot(root, "second", cost);
      same((await KeyFile.decode(two.encode()).unlock("second")).reveal(), root.reveal(), "root");
      await refused(() => two.unlock("third"), "denied");
      await refused(async () => two.addSlot(await RootKey.generate(), "third", cost), "denied");
    },
  ];
});

/** Whose account a vault's key belongs to (docs/format/21-uploads.md). */
export const uploads = suiteOf<{
  proofs: Record<"root_key" | "manifest_pk" | "account" | "vault_id" | "proof", Bytes>[];
}>(function* ({ proofs }) {
  for (const [at, known] of proofs.entries()) {
    yield [
      `proof ${at}`,
      async () => {
        const key = await (await RootKey.fromBytes(known.root_key)).signingKey();
        same(key.publicKey, known.manifest_pk, "manifest_pk");
        same(await prove(key, known.account, known.vault_id), known.proof, "proof");
        await refused(() => prove(key, known.vault_id, known.vault_id), "invalid-input");
      },
    ];
  }
});

export const merkle = suiteOf<{
  trees: { leaves: Bytes[]; root: Bytes; proofs: Bytes[][] }[];
  refused: { about: string; root: Bytes; leaf: Bytes; index: number; size: number; proof: Bytes[] }[];
}>(function* ({ trees, refused: claims }) {
  for (const { leaves: given, root, proofs } of trees) {
    yield [
      `${given.length} leaves`,
      () => {
        const tree = new Tree(given);
        same(tree.root, root, "root");
        for (const [index, leaf] of given.entries()) {
          same(tree.proof(index), proofs[index], `proof ${index}`);
          same(verify(root, leaf, index, given.length, proofs[index] as Bytes[]), true, `claim ${index}`);
        }
      },
    ];
  }
  for (const { about, root, leaf, index, size, proof } of claims) {
    yield [`refused: ${about}`, () => same(verify(root, leaf, index, size, proof), false, "the claim holds")];
  }
});

export const shamir = suiteOf<{
  cases: { t: number; n: number; secret: Bytes; coefficients: Bytes[]; shares: Bytes[] }[];
  refused: { about: string; shares: Bytes[] }[];
}>(function* ({ cases, refused: others }) {
  for (const { t, n, secret, coefficients, shares } of cases) {
    yield [
      `${t} of ${n}`,
      () => {
        same(splitWith(secret, coefficients, n), shares, "shares");
        for (const chosen of combinations(shares, t)) same(combine(chosen), secret, "secret");
        same(combine(shares), secret, "secret of all");
        if (t > 2) same(equal(combine(shares.slice(1, t)), secret), false, "t - 1 shares give the secret");
      },
    ];
  }
  for (const { about, shares } of others)
    yield [`refused: ${about}`, () => refused(() => combine(shares), "invalid-input")];
});

function* combinations<T>(items: readonly T[], count: number): Generator<T[]> {
  if (count === 0) return yield [];
  for (const [at, item] of items.entries()) {
    for (const rest of combinations(items.slice(at + 1), count - 1)) yield [item, ...rest];
  }
}

interface HpkeVectors {
  scope: {
    chain_id: number;
    token: Bytes;
    owner: Bytes;
    asset: Bytes;
    vault_id: Bytes;
    batch_id: Bytes;
    t: number;
    n: number;
  };
  object_id: Bytes;
  dek: Bytes;
  dek_commit: Bytes;
  job: { id: Bytes; private: Bytes; public: Bytes };
  keepers: Record<
    | "private"
    | "public"
    | "seed_info"
    | "sealed"
    | "batch_seed"
    | "cell"
    | "share"
    | "hash"
    | "release_info"
    | "release",
    Bytes
  >[];
  row: Bytes;
  head: Bytes;
  manifest_pk: Bytes;
  sig: Bytes;
}

export const hpke = suiteOf<HpkeVectors>(function* (vectors) {
  const { object_id: objectId, job, keepers } = vectors;
  const { chain_id: chainId, token, owner, asset, vault_id: vaultId, batch_id: batchId, t, n } = vectors.scope;
  const [scope, batch] = [
    { chainId, token, owner, asset, vaultId },
    { batchId, t, n },
  ];
  const flipped = (data: Bytes, at: number) => data.map((byte, index) => (index === at ? byte ^ 1 : byte)) as Bytes;
  for (const [at, keeper] of keepers.entries()) {
    const i = at + 1;
    yield [
      `keeper ${i}`,
      async () => {
        same(
          context("allod/seed/v1", scope, new Uint8Array(32), batch, i, keeper.public),
          keeper.seed_info,
          "seed context",
        );
        same(
          concat(context("allod/release/v1", scope, objectId, batch, i, keeper.public), job.id),
          keeper.release_info,
          "release context",
        );
        same(await hpkeOpen(keeper.private, keeper.sealed, keeper.seed_info), keeper.batch_seed, "seed");
        const head = await verifyShareHead(vectors.head, vectors.sig, vectors.manifest_pk);
        const row = verifyShareRow(head, vectors.row, 0, []);
        same([row.cells[at], row.hashes[at]], [keeper.cell, keeper.hash], "cell and hash");
        same(await openShare(keeper.private, keeper.public, i, scope, head, row), keeper.share, "share");
        same(
          await openRelease(job.private, keeper.release, scope, head, row, i, keeper.public, job.id),
          keeper.share,
          "released",
        );
        same(encodeShareHead(decodeShareHead(vectors.head)), vectors.head, "head");
        same(encodeShareRow(decodeShareRow(vectors.row)), vectors.row, "row");
        const elsewhere = { ...scope, chainId: chainId + 1 };
        await refused(() => openShare(keeper.private, keeper.public, i, elsewhere, head, row), "corrupted");
        await refused(
          () => openShare(keeper.private, keeper.public, i, scope, head, { ...row, objectId: job.id }),
          "corrupted",
        );
        await refused(
          () => openRelease(job.private, keeper.release, scope, head, row, i, keeper.public, objectId),
          "corrupted",
        );
      },
    ];
  }
  yield [
    "damaged envelopes",
    async () => {
      const { private: secret, sealed, seed_info } = keepers[0] as HpkeVectors["keepers"][number];
      for (const at of [0, 1087, 1088, 1119, 1120, sealed.length - 1]) {
        await refused(() => hpkeOpen(secret, flipped(sealed, at), seed_info), "corrupted");
      }
      for (const length of [0, 1119, 1120, sealed.length - 1]) {
        await refused(() => hpkeOpen(secret, sealed.slice(0, length), seed_info), "corrupted");
      }
      await refused(() => hpkeOpen(secret, sealed, flipped(seed_info, 0)), "corrupted");
      await refused(() => hpkeOpen(job.private, sealed, seed_info), "corrupted");
      await refused(() => hpkeSeal(secret, secret, seed_info), "invalid-input");
    },
  ];
  yield [
    "a head with another signature",
    () => refused(() => verifyShareHead(vectors.head, flipped(vectors.sig, 5), vectors.manifest_pk), "corrupted"),
  ];
  yield [
    "any two keepers give the key",
    async () => {
      for (const chosen of combinations(
        keepers.map(({ share }) => share),
        2,
      )) {
        same(await recoverDek(chosen, 2, vectors.dek_commit, vaultId, objectId), vectors.dek, "key");
      }
      const [one] = keepers.map(({ share }) => share) as [Bytes];
      await refused(() => recoverDek([one], 2, vectors.dek_commit, vaultId, objectId), "invalid-input");
      await refused(
        () => recoverDek([one, flipped(one, 32)], 2, vectors.dek_commit, vaultId, objectId),
        "corrupted",
        "invalid-input",
      );
    },
  ];
  for (const native of [true, false]) {
    yield [
      `sealed and opened ${native ? "by WebCrypto's ML-KEM" : "without it"}`,
      async () => {
        const using = suite(Promise.resolve(native));
        const envelope = await hpkeSeal(job.public, vectors.dek, job.id, using);
        same(envelope.length, 1120 + 32 + 16, "length");
        same(await hpkeOpen(job.private, envelope, job.id), vectors.dek, "opened by the other");
        same(
          await hpkeOpen(job.private, await hpkeSeal(job.public, vectors.dek, job.id), job.id, using),
          vectors.dek,
          "opened",
        );
      },
    ];
  }
});

interface ManifestVectors {
  root_key: Bytes;
  vault_id: Bytes;
  object_id: Bytes;
  dek: Bytes;
  description: Record<string, string | number>;
  record: { kind: string; body: Record<string, Bytes> };
  manifest_pk: Bytes;
  blocks: Record<string, Bytes>;
  header_digest: Bytes;
  refused: { about: string; as: string; block: Bytes }[];
}

export const manifests = suiteOf<ManifestVectors>(function* (vectors) {
  const block = (name: string) => vectors.blocks[name] as Bytes;
  yield [
    "object",
    async () => {
      const root = await RootKey.fromBytes(vectors.root_key);
      const manifest = decodeManifest(block("object"));
      same(encodeManifest(manifest), block("object"), "bytes");
      same(await unwrap(root, DEK_LABEL, vectors.vault_id, vectors.object_id, manifest.wrap), vectors.dek, "key");
      const {
        name,
        mediaType: type,
        size,
        added,
        records,
        broken,
        notes,
      } = await readEntry(root, manifest, Cid.of(DAG_CBOR, block("object")), []);
      same({ name, type, size, added, records, broken, notes }, vectors.description, "description");
    },
  ];
  yield [
    "dataset",
    async () => {
      const header = decodeHeader(block("dataset"));
      same(encodeHeader(header), block("dataset"), "bytes");
      same(hash(block("dataset")), vectors.header_digest, "digest");
      same(datasetTree([block("object")]).root, header.root, "root");
      const blocks = new Map(Object.values(vectors.blocks).map((data) => [Cid.of(DAG_CBOR, data).toString(), data]));
      const get = async (cid: Cid) => blocks.get(cid.toString()) as Bytes;
      same(await memberCids(header, get), [Cid.of(DAG_CBOR, block("object"))], "members");
      same(decodeCard(await get(header.card)).card, { title: "Notes" }, "card");
    },
  ];
  yield [
    "head",
    async () => {
      const root = await RootKey.fromBytes(vectors.root_key);
      const head = await decodeHead(block("head"));
      same(await encodeHead(head, await root.signingKey()), block("head"), "bytes");
      same([head.sequence, head.vaultId, head.manifestPk], [4, vectors.vault_id, vectors.manifest_pk], "members");
      await refused(async () => encodeHead(head, await (await RootKey.generate()).signingKey()), "invalid-input");
    },
  ];
  yield [
    "record",
    async () => {
      const root = await RootKey.fromBytes(vectors.root_key);
      const found = await openRecord(root, block("record"));
      same({ kind: found.kind, body: found.body }, vectors.record, "record");
      await refused(async () => openRecord(await RootKey.generate(), block("record")), "corrupted");
    },
  ];
  const decoders: Record<string, (data: Bytes) => unknown> = {
    object: decodeManifest,
    dataset: decodeHeader,
    head: decodeHead,
    page: (data) => decodePage(data, "page"),
  };
  for (const { about, as, block: data } of vectors.refused) {
    yield [`refused: ${about}`, () => refused(() => decoders[as]?.(data), "invalid-input", "corrupted")];
  }
});

/** What Python wrote and read, case by case: dag-cbor, archives, file nodes, publications. */
export const encodings = suiteOf<{
  cbor: { name: string; data: Bytes }[];
  not_cbor: { name: string; data: Bytes }[];
  cars: { name: string; data: Bytes; blocks: [string, Bytes][] | null }[];
  nodes: { name: string; data: Bytes; children: [string, number][] | null }[];
  publications: { name: string; data: Bytes; links: [string, string, string] | null }[];
}>(function* ({ cbor, not_cbor, cars, nodes, publications }) {
  for (const { name, data } of cbor) yield [`cbor ${name}`, () => same(encodeCbor(decodeCbor(data)), data, "bytes")];
  for (const { name, data } of not_cbor)
    yield [`not cbor ${name}`, () => refused(() => decodeCbor(data), "invalid-input")];
  for (const { name, data, blocks } of cars) {
    yield [
      `archive ${name}`,
      async () => {
        const read = () => Array.fromAsync(readCar(data));
        if (blocks === null) return await refused(read, "corrupted");
        const found = await read();
        same(
          found.map((block) => [block.cid.toString(), block.data]),
          blocks,
          "blocks",
        );
        same(writeCar(found), data, "written");
      },
    ];
  }
  for (const { name, data, children } of nodes) {
    yield [
      `node ${name}`,
      async () => {
        if (children === null) return await refused(() => decodeNode(data), "invalid-input");
        same(
          decodeNode(data).map((child) => [child.cid.toString(), child.size]),
          children,
          "children",
        );
      },
    ];
  }
  for (const { name, data, links } of publications) {
    yield [
      `publication ${name}`,
      async () => {
        if (links === null) return await refused(() => decodePublication(data), "invalid-input");
        const found = decodePublication(data);
        same([found.header, found.terms, found.shares], links, "links");
        same(encodePublication(found), data, "bytes");
      },
    ];
  }
  yield [
    "no cbor",
    async () => {
      for (const value of [1.5, Number.NaN, 2 ** 53, 1n << 64n, "\ud800"])
        await refused(() => encodeCbor(value), "invalid-input");
      await refused(() => encodeCbor({ "\udc00": 1 }), "invalid-input");
      same(encodeCbor(new Link(new Uint8Array(0))), "0xd82a4100", "link");
    },
  ];
  yield [
    "a file whose sizes lie",
    async () => {
      const store = new MemoryBlocks();
      const builder = new FileBuilder((cid, data) => void store.put(cid, data));
      for (const size of [1 << 20, 5]) builder.add(Cid.of(RAW, new Uint8Array(size)), size);
      const { root, size } = builder.finish();
      const read = (expected: number) => Array.fromAsync(leaves(root, (cid) => store.get(cid), expected));
      same(
        (await read(size)).map((leaf) => [leaf.offset, leaf.size]),
        [
          [0, 1 << 20],
          [1 << 20, 5],
        ],
        "leaves",
      );
      await refused(() => read(size + 1), "corrupted");
      store.blocks.clear();
      await refused(() => read(size), "not-found");
    },
  ];
});
