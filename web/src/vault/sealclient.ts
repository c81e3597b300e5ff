/** The page's side of the sealing Worker: a file goes in, its pieces come out, at the pace at which they are taken. */
import type { Bytes } from "./bytes.ts";
import { Cid } from "./cid.ts";
import { AllodError, Conflict, Corrupted, InvalidInput, Unavailable } from "./errors.ts";
import type { Description } from "./interfaces.ts";
import type { Piece } from "./sealfile.ts";

/** Segments that may wait for the page: the next part is sealed while the last one is sent. */
const WINDOW = 24;

export interface SealRequest {
  readonly file: Blob;
  readonly name: string;
  readonly dek: Bytes;
  readonly header: Bytes;
  readonly vaultId: Bytes;
  readonly objectId: Bytes;
}

export type ToWorker =
  | ({ readonly type: "seal"; readonly segments: number } & SealRequest)
  | { readonly type: "more"; readonly segments: number };

export type FromWorker =
  | { readonly type: "block"; readonly cid: Bytes; readonly data: Bytes; readonly plain: number | null }
  | { readonly type: "end"; readonly payload: Bytes; readonly size: number; readonly found: Description }
  | { readonly type: "failed"; readonly slug: string; readonly message: string; readonly hint: string };

/** Seals `request.file` in a Worker of its own; see `sealFile` for what may be done with its pieces. */
export async function* sealInWorker(request: SealRequest, signal?: AbortSignal): AsyncGenerator<Piece> {
  signal?.throwIfAborted();
  const worker = new Worker(new URL("./sealing.worker.ts", import.meta.url), { type: "module" });
  const come: FromWorker[] = [];
  let wake: () => void = () => undefined;
  let broken = false;
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    come.push(data);
    wake();
  };
  worker.onerror = () => {
    broken = true;
    wake();
  };
  const stop = () => wake();
  signal?.addEventListener("abort", stop);
  const post = (message: ToWorker) => worker.postMessage(message);
  try {
    post({ type: "seal", segments: WINDOW, ...request });
    for (;;) {
      while (come.length === 0 && !broken && signal?.aborted !== true) {
        await new Promise<void>((resolve) => (wake = resolve));
      }
      signal?.throwIfAborted();
      const message = come.shift();
      if (message === undefined) {
        throw new Unavailable("The part of the page that seals files stopped.", "Load the page again and retry.");
      }
      if (message.type === "failed") throw failure(message);
      if (message.type === "end") {
        yield { kind: "end", payload: Cid.parse(message.payload), size: message.size, found: message.found };
        return;
      }
      const { data, plain } = message;
      const cid = Cid.parse(message.cid);
      yield plain === null ? { kind: "node", cid, data } : { kind: "segment", cid, data, plain };
      if (plain !== null) post({ type: "more", segments: 1 });
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    worker.terminate();
  }
}

function failure({ slug, message, hint }: Extract<FromWorker, { type: "failed" }>): AllodError {
  if (slug === "conflict") return new Conflict(message, hint);
  if (slug === "corrupted") return new Corrupted(message, hint);
  if (slug === "invalid-input") return new InvalidInput(message, hint);
  return new Unavailable(`Sealing failed: ${message}`, hint === "" ? "Load the page again and retry." : hint);
}
