import { scrypt } from "@noble/hashes/scrypt.js";

import type { StretchRequest } from "./stretching.ts";

self.onmessage = ({ data }: MessageEvent<StretchRequest>) => {
  const { n, r, p } = data.cost;
  try {
    const maxmem = 128 * r * (n + p) + (1 << 20);
    self.postMessage(scrypt(data.passphrase, data.salt, { N: n, r, p, dkLen: 32, maxmem }));
  } catch {
    self.postMessage(null); // no memory for it
  }
};
