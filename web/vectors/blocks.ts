/** The vectors of docs/format 10 and 20, each run by the code that the page ships: sealed bytes, and blocks of them. */
import { type Bytes, concat, fromHex, toHex, utf8 } from "../src/vault/bytes.ts";
import { MemoryBlocks } from "../src/vault/blocks.ts";
import { readCar, writeCar } from "../src/vault/car.ts";
import { Link, decodeCbor, encodeCbor } from "../src/vault/cbor.ts";
import { Cid, RAW, digest, hash } from "../src/vault/cid.ts";
import { decodePublication, encodePublication } from "../src/vault/datasets.ts";
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
import { FileBuilder, decodeNode, leaves } from "../src/vault/unixfs.ts";
import { openPayload } from "../src/vault/vault.ts";
import { refused, same, suiteOf } from "./checking.ts";

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
