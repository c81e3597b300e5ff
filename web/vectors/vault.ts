/** The vectors of docs/format 21 to 40, each run by the code that the page ships: keys, documents, shares. */
import { type Bytes, concat, equal, utf8 } from "../src/vault/bytes.ts";
import { Cid, DAG_CBOR, hash } from "../src/vault/cid.ts";
import { decodeCard, memberCids } from "../src/vault/datasets.ts";
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
import { unwrap } from "../src/vault/wrapping.ts";
import { refused, same, suiteOf } from "./checking.ts";

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
