/** Blocks between the vault and its transport: reading with checks and a memory, writing in CAR parts. */
import type { Bytes } from "./bytes.ts";
import { type Block, CAR_HEADER, framedSize, writeCar } from "./car.ts";
import { Cid, type Codec, MAX_BLOCK } from "./cid.ts";
import { NotFound } from "./errors.ts";
import type { BlockSink, BlockSource, Transport } from "./interfaces.ts";
import { verified } from "./unixfs.ts";

const LIMITS = { partBytes: 16 << 20, cidsPerQuestion: 1024 };
const KEPT = 64 << 10; // documents up to this size stay in memory
const MAX_KEPT = 20_000;

/** Reads verified blocks; documents are kept, for a block never changes under its CID. */
export class Blocks {
  private readonly kept = new Map<string, Bytes>();

  constructor(private readonly source: BlockSource) {}

  readonly get = async (cid: Cid, signal?: AbortSignal): Promise<Bytes> => {
    const known = this.kept.get(cid.toString());
    if (known !== undefined) return known;
    const data = await verified(cid, await this.source.get(cid, signal));
    this.keep(cid, data);
    return data;
  };

  /** Remembers a block that was just made. */
  keep(cid: Cid, data: Bytes): void {
    if (data.length > KEPT) return;
    if (this.kept.size >= MAX_KEPT) this.kept.delete(this.kept.keys().next().value as string);
    this.kept.set(cid.toString(), data);
  }
}

/** Collects blocks and sends what the other side lacks, in archives within its limits. Memory: one part. */
export class Outbox implements BlockSink {
  private waiting: Block[] = [];
  private size = CAR_HEADER.length;
  private readonly passed = new Set<string>();
  private readonly limits: typeof LIMITS;

  constructor(
    private readonly transport: Pick<Transport, "limits" | "missing" | "send">,
    private readonly options: {
      readonly signal?: AbortSignal;
      /** Awaited before blocks leave. */
      readonly leaving?: () => Promise<void>;
      /** Told after blocks are on the other side. */
      readonly arrived?: (blocks: readonly Cid[]) => void;
      /** Blocks that are sent even if the other side says that it has them; they leave the set once they are sent. */
      readonly lost?: Set<string>;
    } = {},
  ) {
    const { partBytes, cidsPerQuestion } = transport.limits ?? LIMITS;
    this.limits = {
      partBytes: Math.min(partBytes, LIMITS.partBytes),
      cidsPerQuestion: Math.min(cidsPerQuestion, LIMITS.cidsPerQuestion),
    };
  }

  async put(cid: Cid, data: Bytes): Promise<void> {
    const name = cid.toString();
    if (this.passed.has(name)) return;
    const size = framedSize(data.length);
    if (this.size + size > this.limits.partBytes && this.waiting.length > 0) await this.flush();
    if (data.length < MAX_BLOCK / 4) this.passed.add(name); // leaves are never put twice; documents may be
    this.waiting.push({ cid, data });
    this.size += size;
  }

  /** Puts a document and gives its name. */
  async add(codec: Codec, data: Bytes): Promise<Cid> {
    const cid = Cid.of(codec, data);
    await this.put(cid, data);
    return cid;
  }

  /** Sends what waits; once it resolves all that was put is on the other side. */
  async flush(): Promise<void> {
    const blocks = this.waiting;
    this.waiting = [];
    this.size = CAR_HEADER.length;
    if (blocks.length === 0) return;
    await this.options.leaving?.();
    const cids = blocks.map((block) => block.cid);
    const { signal, lost = new Set() } = this.options;
    const missing = new Set(lost);
    const asked = cids.filter((cid) => !lost.has(cid.toString()));
    for (let start = 0; start < asked.length; start += this.limits.cidsPerQuestion) {
      const some = asked.slice(start, start + this.limits.cidsPerQuestion);
      for (const cid of await this.transport.missing(some, signal)) missing.add(cid.toString());
    }
    const wanted = blocks.filter((block) => missing.has(block.cid.toString()));
    if (wanted.length > 0) await this.transport.send(writeCar(wanted), signal);
    for (const { cid } of wanted) lost.delete(cid.toString());
    this.options.arrived?.(cids);
  }
}

/** Blocks in memory: what a dataset is built into before it is sent, and the vault of tests. */
export class MemoryBlocks implements BlockSource, BlockSink {
  readonly blocks = new Map<string, Block>();

  async get(cid: Cid): Promise<Bytes> {
    const block = this.blocks.get(cid.toString());
    if (block === undefined) throw new NotFound(`Block ${cid} is not here.`, "Fetch it from another copy.");
    return block.data;
  }

  async missing(cids: readonly Cid[]): Promise<Cid[]> {
    return cids.filter((cid) => !this.blocks.has(cid.toString()));
  }

  async put(cid: Cid, data: Bytes): Promise<void> {
    this.blocks.set(cid.toString(), { cid, data });
  }
}
