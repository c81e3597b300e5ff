/** Seals one file after the other, off the page's thread. It learns the key of one object, never the root key. */
import { describeFile } from "./describing.ts";
import { AllodError } from "./errors.ts";
import { sealFile } from "./sealfile.ts";
import type { FromWorker, ToWorker } from "./sealclient.ts";
import { SegmentKey, associatedData } from "./segments.ts";

let credit = 0;
let more: (() => void) | null = null;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === "more") {
    credit += data.segments;
    more?.();
  } else void seal(data);
};

async function seal(job: Extract<ToWorker, { type: "seal" }>): Promise<void> {
  credit = job.segments;
  try {
    const key = await SegmentKey.derive(job.dek, job.header, associatedData(job.vaultId, job.objectId));
    for await (const piece of sealFile(job.file, key, job.name, describeFile)) {
      if (piece.kind === "end") {
        tell({ type: "end", payload: piece.payload.bytes, size: piece.size, found: piece.found });
        continue;
      }
      const plain = piece.kind === "segment" ? piece.plain : null;
      tell({ type: "block", cid: piece.cid.bytes, data: piece.data, plain }, [piece.data.buffer]);
      if (plain !== null) credit--;
      while (credit <= 0) await new Promise<void>((resolve) => (more = resolve));
    }
  } catch (error) {
    const known = error instanceof AllodError ? error : null;
    const message = known?.message ?? (error instanceof Error ? error.message : String(error));
    tell({ type: "failed", slug: known?.slug ?? "error", message, hint: known?.hint ?? "" });
  }
}

function tell(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
