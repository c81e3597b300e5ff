/** Datasets as blocks: a header, the public card it links, pages with the CIDs of its manifests; and a publication. */
import type { Bytes } from "./bytes.ts";
import { type CborMap, Link, encodeCbor } from "./cbor.ts";
import { Cid, type Codec, DAG_CBOR, RAW } from "./cid.ts";
import { readDocument } from "./documents.ts";
import { InvalidInput } from "./errors.ts";
import type { BlockSink, Body } from "./interfaces.ts";
import { type DatasetHeader, datasetTree, decodePage, encodeHeader, encodePages } from "./manifest.ts";
import type { Getter } from "./unixfs.ts";

const MAX_CARD = 256 << 10;

export interface Card {
  readonly card: CborMap;
  readonly pages: readonly Cid[];
}

/** A card from its block, or `InvalidInput`. */
export function decodeCard(data: Uint8Array): Card {
  const members = readDocument(data, "card", ["card", "pages"]);
  return { card: members.document("card"), pages: members.cids("pages") };
}

/** Puts card, pages and header into `sink`. The same input makes the same header. */
export async function storeDataset(
  sink: BlockSink,
  vaultId: Bytes,
  manifestPk: Bytes,
  manifests: readonly Bytes[],
  records: number,
  card: Body,
): Promise<DatasetHeader> {
  const tree = datasetTree(manifests);
  if (tree.size === 0) throw new InvalidInput("A dataset has at least one object.", "Name the objects to publish.");
  const add = async (codec: Codec, block: Bytes): Promise<Cid> => {
    const cid = Cid.of(codec, block);
    await sink.put(cid, block);
    return cid;
  };
  const pages: Link[] = [];
  for (const page of encodePages(
    manifests.map((manifest) => Cid.of(DAG_CBOR, manifest)),
    "members",
  )) {
    pages.push(Link.to(await add(DAG_CBOR, page)));
  }
  const block = encodeCbor({ v: 1, kind: "card", card, pages });
  if (block.length > MAX_CARD) {
    throw new InvalidInput(`The card has ${block.length} bytes; at most ${MAX_CARD} are published.`, "Shorten it.");
  }
  const header: DatasetHeader = {
    vaultId,
    manifestPk,
    root: tree.root,
    objects: tree.size,
    records,
    card: await add(DAG_CBOR, block),
  };
  await add(DAG_CBOR, encodeHeader(header));
  return header;
}

/** The CIDs of the dataset's manifests as its card lists them. */
export async function memberCids(header: DatasetHeader, get: Getter): Promise<Cid[]> {
  const { pages } = decodeCard(await get(header.card));
  return (await Promise.all(pages.map((page) => get(page)))).flatMap((page) => decodePage(page, "members"));
}

/** What a trainer is pointed at: header, terms and share table (docs/format/60-consent.md). */
export interface Publication {
  readonly header: Cid;
  readonly terms: Cid;
  readonly shares: Cid;
}

export function encodePublication({ header, terms, shares }: Publication): Bytes {
  return encodeCbor({
    v: 1,
    kind: "publication",
    header: Link.to(header),
    terms: Link.to(terms),
    shares: Link.to(shares),
  });
}

/** A publication from its block, or `InvalidInput`. */
export function decodePublication(data: Uint8Array): Publication {
  const members = readDocument(data, "publication", ["header", "terms", "shares"]);
  const [header, terms, shares] = [members.cid("header"), members.cid("terms"), members.cid("shares")];
  if (header.codec !== DAG_CBOR || terms.codec !== RAW || shares.codec !== DAG_CBOR) {
    throw new InvalidInput("A publication links a header, a raw block of terms and a share table.");
  }
  return { header, terms, shares };
}
