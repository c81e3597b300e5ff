/** scrypt in a Worker of its own: half a second and 128 MiB that the page's thread never feels. */
import { type Bytes, utf8 } from "./bytes.ts";
import { InvalidInput, Unavailable } from "./errors.ts";
import type { Cost } from "./keyfile.ts";

export interface StretchRequest {
  readonly passphrase: Bytes;
  readonly salt: Bytes;
  readonly cost: Cost;
}

/** What `passphrase` stretches to, 32 bytes. Unicode is normalised (NFKC), nothing is trimmed. */
export async function stretch(passphrase: string, salt: Bytes, cost: Cost): Promise<Bytes> {
  if (passphrase === "") throw new InvalidInput("The passphrase is empty.", "Choose one of at least a few words.");
  const request: StretchRequest = { passphrase: utf8(passphrase.normalize("NFKC")), salt, cost };
  const worker = new Worker(new URL("./stretching.worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise<Bytes>((resolve, reject) => {
      const failed = new Unavailable("The passphrase could not be stretched here.", "Close other pages and try again.");
      worker.onmessage = ({ data }: MessageEvent<Bytes | null>) => (data === null ? reject(failed) : resolve(data));
      worker.onerror = () => reject(failed);
      worker.postMessage(request);
    });
  } finally {
    worker.terminate(); // its memory goes, and with it what was stretched
  }
}
