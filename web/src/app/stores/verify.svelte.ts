/** Verifications, and hashing what somebody holds in their hands without sending it anywhere. */

import { get } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import type { Hex, Verification } from "../../api/types.ts";
import { Resource } from "./resource.svelte.ts";

const WEIGHTS = "adapter_model.safetensors";
const BLOCK = 512; // of a tar archive

export function verificationStore(id: string): Resource<Verification> {
  return new Resource((signal) => get<Verification>(`/v1/verifications/${encodeURIComponent(id)}`, { signal }));
}

/** A job id or hash as people paste it, as the API takes it; undefined if it is none. */
export function wanted(text: string): Hex | undefined {
  const digits = text.trim().toLowerCase().replace(/^(sha256:|0x)/, "");
  return /^[0-9a-f]{64}$/.test(digits) ? `0x${digits}` : undefined;
}

interface Hashed {
  readonly name: string;
  readonly hash: Hex;
}

type Report = (name: string, done: number, of: number) => void;

/** SHA-256 of an adapter's weights: the file itself, or the one in a bundle (a tar archive). */
export async function hashBundle(file: File, report: Report): Promise<Hashed> {
  const found = await findWeights(file);
  const { sha256 } = await import("@noble/hashes/sha2.js");
  const hash = sha256.create();
  const reader = found.part.stream().getReader();
  let done = 0;
  for (;;) {
    const { value, done: over } = await reader.read();
    if (over) break;
    hash.update(value);
    done += value.length;
    report(found.name, done, found.part.size);
  }
  const hex = [...hash.digest()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { name: found.name, hash: `0x${hex}` };
}

async function findWeights(file: File): Promise<{ name: string; part: Blob }> {
  if (!(await isTar(file))) return { name: file.name, part: file };
  for (let at = 0; at + BLOCK <= file.size; ) {
    const head = new Uint8Array(await file.slice(at, at + BLOCK).arrayBuffer());
    if (head[0] === 0) break;
    const name = text(head.subarray(0, 100));
    const size = Number.parseInt(text(head.subarray(124, 136)).trim(), 8);
    if (!Number.isSafeInteger(size) || size < 0) break;
    const start = at + BLOCK;
    if (name.split("/").pop() === WEIGHTS) {
      if (start + size > file.size) {
        throw Problem.local("corrupted", "The bundle ends early.", "Fetch it again, and compare its size.");
      }
      return { name: WEIGHTS, part: file.slice(start, start + size) };
    }
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  throw Problem.local("invalid-input", `The bundle holds no ${WEIGHTS}.`, "Drop the adapter's file itself, or paste the job id.");
}

async function isTar(file: File): Promise<boolean> {
  const mark = new Uint8Array(await file.slice(257, 262).arrayBuffer());
  return text(mark) === "ustar";
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
