/** What the end-to-end tests do with the vault: each function is a deed of an owner, over a home of blocks. */
import {
  AllodError,
  type Bytes,
  Cid,
  HeadMoved,
  Incomplete,
  KeyFile,
  NotFound,
  RootKey,
  Sealer,
  type Transport,
  Unavailable,
  type Upload,
  Vault,
  describeFile,
  fromHex,
  toHex,
} from "../src/vault/index.ts";
import { sealInWorker } from "../src/vault/sealclient.ts";
import { newHeader } from "../src/vault/segments.ts";

/** A home of blocks behind a few HTTP paths; the tests' server says what goes wrong. */
class HttpTransport implements Transport {
  readonly limits: { partBytes: number; cidsPerQuestion: number };

  constructor(
    private readonly base: string,
    partBytes = 16 << 20,
  ) {
    this.limits = { partBytes, cidsPerQuestion: 64 };
  }

  async get(cid: Cid, signal?: AbortSignal): Promise<Bytes> {
    return new Uint8Array(await (await this.ask(`blocks/${cid}`, { signal: signal ?? null })).arrayBuffer());
  }

  async missing(cids: readonly Cid[], signal?: AbortSignal): Promise<Cid[]> {
    const body = JSON.stringify(cids);
    const answer = await this.ask("missing", { method: "POST", body, signal: signal ?? null });
    return ((await answer.json()) as string[]).map((text) => Cid.parse(text));
  }

  async send(car: Bytes, signal?: AbortSignal): Promise<void> {
    await this.ask("blocks", { method: "POST", body: car, signal: signal ?? null });
  }

  async head(signal?: AbortSignal): Promise<Cid | null> {
    const text = (await (await this.ask("head", { signal: signal ?? null })).json()) as string | null;
    return text === null ? null : Cid.parse(text);
  }

  async commit(
    head: Cid,
    previous: Cid | null,
    signal: AbortSignal | undefined,
    prove: (account: Bytes) => Promise<Bytes>,
  ): Promise<void> {
    const body = JSON.stringify([head, previous, toHex(await prove(ACCOUNT))]);
    const answer = await this.ask("head", { method: "PUT", body, signal: signal ?? null }, [409, 422]);
    if (answer.status === 409) {
      const newest = (await answer.json()) as string | null;
      throw new HeadMoved(newest === null ? null : Cid.parse(newest));
    }
    if (answer.status === 422) throw new Incomplete(((await answer.json()) as string[]).map((text) => Cid.parse(text)));
  }

  private async ask(path: string, request: RequestInit, expected: readonly number[] = []): Promise<Response> {
    const answer = await fetch(`${this.base}/${path}`, request).catch((error: unknown) => {
      if (request.signal?.aborted === true) throw error;
      throw new Unavailable("The other side does not answer.", "Try again.");
    });
    if (answer.status === 404) throw new NotFound("No such block.", "Look elsewhere.");
    if (!answer.ok && !expected.includes(answer.status)) throw new Unavailable(`It answered ${answer.status}.`);
    return answer;
  }
}

/** Whose vault it is, for the other side. */
const ACCOUNT: Bytes = new Uint8Array(20).fill(1);

interface Place {
  readonly base: string;
  readonly root: string;
  readonly vault: string;
  readonly part?: number;
}

async function opened({ base, root, vault, part }: Place): Promise<{ vault: Vault; transport: Transport }> {
  const transport = new HttpTransport(base, part);
  return { vault: await Vault.open(await RootKey.fromBytes(fromHex(root)), fromHex(vault, 32), transport), transport };
}

/** `size` bytes that no two seeds share, all segments different; the tests compute the same. */
function content(size: number, seed: number): Bytes {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0; i < words.length; i++) words[i] = (seed << 24) + i;
  return new Uint8Array(words.buffer, 0, size);
}

interface FileSpec {
  readonly name: string;
  readonly text?: string;
  readonly size?: number;
  readonly seed?: number;
}

function fileOf({ name, text, size, seed }: FileSpec): File {
  return new File([text ?? content(size ?? 0, seed ?? 1)], name, { lastModified: 1_700_000_000_000 });
}

async function slugOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "nothing";
  } catch (error) {
    return error instanceof AllodError ? error.slug : String(error);
  }
}

const phases = new Map<number, string[]>();
let sealer: Sealer | null = null;
let latest: Upload[] = [];

const lab = {
  /** A new vault by its key file: what first run does. */
  async create(
    base: string,
    passphrase: string,
  ): Promise<{ words: string; file: string; vault: string; root: string }> {
    const root = await RootKey.generate();
    const file = await KeyFile.create(root, passphrase, { address: ACCOUNT });
    const again = await KeyFile.decode(file.encode()).unlock(passphrase);
    const vault = await Vault.open(again, file.vaultId, new HttpTransport(base));
    await vault.saveRecord("greeting", { text: "begun" });
    return {
      words: (await root.words()).join(" "),
      file: new TextDecoder().decode(file.encode()),
      vault: toHex(file.vaultId),
      root: toHex(root.reveal()),
    };
  },

  async unlock(file: string, passphrase: string): Promise<string> {
    return toHex((await KeyFile.decode(new TextEncoder().encode(file)).unlock(passphrase)).reveal());
  },

  async add(place: Place, spec: FileSpec): Promise<string> {
    const { vault } = await opened(place);
    return toHex((await vault.addFile(fileOf(spec), { describe: describeFile })).objectId);
  },

  async entries(place: Place): Promise<unknown[]> {
    const { vault } = await opened(place);
    return (await vault.entries()).map((entry) => ({
      ...entry,
      objectId: toHex(entry.objectId),
      manifest: entry.manifest.toString(),
      payload: entry.payload.toString(),
      datasets: entry.datasets.map(toHex),
    }));
  },

  async unreadable(place: Place): Promise<number> {
    return (await (await opened(place)).vault.unreadable()).length;
  },

  /** What `open` releases before it ends or fails: the digest of it all, its length, and the slug of the failure. */
  async open(place: Place, objectId: string): Promise<{ sha256: string; length: number; failure: string }> {
    const { vault } = await opened(place);
    const parts: Bytes[] = [];
    const failure = await slugOf(async () => {
      for await (const piece of vault.open(fromHex(objectId))) parts.push(piece);
    });
    const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
    return {
      sha256: toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", whole))),
      length: whole.length,
      failure,
    };
  },

  async remove(place: Place, objectId: string, evenIfPublished = false): Promise<string> {
    const { vault } = await opened(place);
    return await slugOf(() => vault.remove(fromHex(objectId), { evenIfPublished }));
  },

  async records(place: Place, kind: string): Promise<unknown[]> {
    return await (await opened(place)).vault.records(kind);
  },

  async save(place: Place, kind: string, bodies: Record<string, string>[]): Promise<void> {
    const { vault } = await opened(place);
    for (const body of bodies) await vault.saveRecord(kind, body);
  },

  /** All at once, each from a state of its own: as many tabs would. */
  async race(place: Place, count: number): Promise<string[]> {
    const vaults = await Promise.all(Array.from({ length: count }, () => opened(place)));
    return await Promise.all(vaults.map(({ vault }, at) => slugOf(() => vault.saveRecord("race", { number: at }))));
  },

  async openSlug(place: Place, sequence: number): Promise<string> {
    const transport = new HttpTransport(place.base);
    const root = await RootKey.fromBytes(fromHex(place.root));
    return await slugOf(() => Vault.open(root, fromHex(place.vault), transport, sequence));
  },

  async publish(
    place: Place,
    ids: string[],
    card: Record<string, string>,
    terms: string,
    scope: { chainId: number; token: string; owner: string },
    asset: string,
    committee: { id: string; t: number; keys: string[] },
  ): Promise<{ digest: string; publication: string }> {
    const { vault } = await opened(place);
    const dataset = await vault.buildDataset(
      ids.map((id) => fromHex(id)),
      card,
    );
    if (asset === "") return { digest: toHex(dataset.digest), publication: "" };
    const whole = {
      chainId: scope.chainId,
      token: fromHex(scope.token),
      owner: fromHex(scope.owner),
      asset: fromHex(asset),
    };
    const keepers = { id: fromHex(committee.id), t: committee.t, keys: committee.keys.map((key) => fromHex(key)) };
    const publication = await vault.publish(dataset, new TextEncoder().encode(terms), whole, keepers);
    return { digest: toHex(dataset.digest), publication: publication.toString() };
  },

  // Uploads. The page has one sealer, as the app has.

  async startSealer(place: Place): Promise<void> {
    const { vault, transport } = await opened(place);
    latest = [];
    phases.clear();
    sealer = new Sealer(vault, transport, (upload) => {
      latest[upload.id] = upload;
      const seen = phases.get(upload.id) ?? [];
      if (seen.at(-1) !== upload.phase) phases.set(upload.id, [...seen, upload.phase]);
    });
  },

  upload(spec: FileSpec): number {
    return (sealer as Sealer).add(fileOf(spec)).id;
  },

  uploadChosen(): number[] {
    const input = document.querySelector<HTMLInputElement>("input[type=file]");
    return [...(input?.files ?? [])].map((file) => (sealer as Sealer).add(file).id);
  },

  chooser(): void {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    document.body.append(input);
  },

  uploads(): unknown[] {
    return latest.map(({ entry, error, ...rest }) => ({
      ...rest,
      phases: phases.get(rest.id) ?? [],
      objectId: entry === null ? null : toHex(entry.objectId),
      error: error === null ? null : `${error.slug}: ${error.message}`,
    }));
  },

  pause: (id: number): void => (sealer as Sealer).pause(id),
  resume: (id: number): void => (sealer as Sealer).resume(id),
  cancel: async (id: number): Promise<void> => await (sealer as Sealer).cancel(id),
  settled: async (): Promise<void> => await (sealer as Sealer).settled(),
  closeSealer: async (): Promise<void> => await (sealer as Sealer).close(),

  async interrupted(): Promise<unknown[]> {
    return (await (sealer as Sealer).interrupted()).map(({ name, size }) => ({ name, size }));
  },

  /** Everything that IndexedDB holds, as one text: the tests look for what must not be in it. */
  async journalText(): Promise<string> {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("allod-uploads");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    let text = "";
    for (const name of database.objectStoreNames) {
      const store = database.transaction(name).objectStore(name);
      for (const request of [store.getAllKeys(), store.getAll()]) {
        const found = await new Promise<unknown[]>((resolve) => (request.onsuccess = () => resolve(request.result)));
        for (const item of found)
          text += item instanceof Uint8Array ? `${String.fromCharCode(...item)}\n` : `${String(item)}\n`;
      }
    }
    database.close();
    return text;
  },

  /** Seconds for the same bytes: raw AES-GCM and SHA-256 one MiB after the other, and sealed in the Worker. */
  async bench(mib: number): Promise<{ raw: number; sealed: number }> {
    const plain = content(1 << 20, 7);
    const file = new File(
      Array.from({ length: mib }, () => plain),
      "bench.bin",
    );
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt"]);
    const raw = await seconds(async () => {
      // As many at once as the sealing has, or the comparison would flatter it.
      await pooled(mib, 4, async (at) => {
        const iv = new Uint8Array(12);
        new DataView(iv.buffer).setUint32(8, at);
        await crypto.subtle.digest("SHA-256", await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plain));
      });
    });
    const sealed = await seconds(async () => {
      const ids = { vaultId: new Uint8Array(32), objectId: new Uint8Array(32) };
      const request = {
        file,
        name: file.name,
        dek: crypto.getRandomValues(new Uint8Array(32)),
        header: newHeader(),
        ...ids,
      };
      for await (const piece of sealInWorker(request)) void piece;
    });
    return { raw, sealed };
  },
};

async function seconds(act: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await act();
  return (performance.now() - start) / 1000;
}

async function pooled(count: number, width: number, act: (at: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async () => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: width }, run));
}

declare global {
  interface Window {
    lab: typeof lab;
  }
}

window.lab = lab;
