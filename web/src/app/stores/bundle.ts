/**
 * The weights that somebody holds in their hands: the adapter's file itself, or the one in a bundle (a tar archive).
 *
 * What is named is what every `tar` would unpack under that name. So the archive is walked to its end, and refused where
 * programs read it differently: a second file of the name, links, sizes or names said twice, headers that do not add up.
 * It says nothing about the bundle's other files.
 */

import { Problem } from "../../api/problem.ts";
import type { Hex } from "../../api/types.ts";
import { toHex } from "../../vault/bytes.ts";

const WEIGHTS = "adapter_model.safetensors";
const BLOCK = 512;
const LONGEST = 1 << 20; // bytes of a name, or of a pax header
const HARMLESS = new Set(["mtime", "atime", "ctime", "uid", "gid", "uname", "gname"]);

export interface Weights {
  readonly name: string;
  readonly hash: Hex;
}

type Told = (name: string, done: number, of: number) => void;

/** SHA-256 of the weights in `file`; `told` hears how far it is. */
export async function hashWeights(file: File, told: Told): Promise<Weights> {
  const found = (await isTar(file)) ? { name: WEIGHTS, part: await findWeights(file) } : { name: file.name, part: file };
  const { sha256 } = await import("@noble/hashes/sha2.js");
  const hash = sha256.create();
  let done = 0;
  for await (const piece of piecesOf(found.part)) {
    hash.update(piece);
    done += piece.length;
    told(found.name, done, found.part.size);
  }
  return { name: found.name, hash: toHex(hash.digest()) as Hex };
}

async function findWeights(file: File): Promise<Blob> {
  let found: Blob | undefined;
  let before: { readonly path: string | undefined } | undefined; // what a header said of the entry after it
  for (let at = 0; ; ) {
    const head = await read(file, at, BLOCK);
    at += BLOCK;
    if (head.every(isZero)) {
      await refuseMore(file.slice(at));
      break;
    }
    const { name, kind, size } = entryOf(head);
    if (at + size > file.size) throw endsEarly();
    if (kind === "x" || kind === "L") {
      if (before !== undefined || size > LONGEST) throw unusual("a file that is named twice");
      const about = await read(file, at, size);
      before = { path: kind === "L" ? text(about) : pathOf(about) };
    } else {
      if (isWeights(before?.path ?? name)) {
        if (found !== undefined) throw unusual(`two files named ${WEIGHTS}`);
        found = file.slice(at, at + size);
      }
      before = undefined;
    }
    at += Math.ceil(size / BLOCK) * BLOCK;
  }
  if (found !== undefined) return found;
  throw Problem.local("invalid-input", `The bundle holds no ${WEIGHTS}.`, "Drop the adapter's file itself, or paste the job id.");
}

async function isTar(file: File): Promise<boolean> {
  return text(await bytesOf(file.slice(257, 262))) === "ustar";
}

function isWeights(path: string): boolean {
  return path.split("/").pop()?.toLowerCase() === WEIGHTS;
}

interface Entry {
  readonly name: string;
  readonly kind: string;
  readonly size: number;
}

function entryOf(head: Uint8Array): Entry {
  const sum = head.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 32 : byte), 0);
  const kind = String.fromCharCode(head[156] ?? 0);
  const size = octal(head.subarray(124, 136));
  if (octal(head.subarray(148, 156)) !== sum) throw unusual("a header that is damaged");
  if (size === undefined) throw tooLarge();
  if (!["\0", "0", "5", "x", "L"].includes(kind) || (kind === "5" && size > 0)) {
    throw unusual("something else than files and folders");
  }
  return { name: text(head.subarray(0, 100)), kind, size };
}

function octal(field: Uint8Array): number | undefined {
  const digits = text(field).trim();
  return /^[0-7]{1,11}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** The name that a pax header gives: records `LENGTH NAME=VALUE\n`, the length that of the whole record in bytes. */
function pathOf(about: Uint8Array): string | undefined {
  let path: string | undefined;
  for (let at = 0; at < about.length; ) {
    const length = Number(/^([1-9][0-9]{0,6}) /.exec(text(about.subarray(at, at + 8)))?.[1] ?? 0);
    const [, name, value] = /^[0-9]+ ([^=]+)=([^]*)\n$/.exec(text(about.subarray(at, at + length))) ?? [];
    if (name === "size") throw tooLarge();
    if (name === undefined || at + length > about.length || (name !== "path" && !HARMLESS.has(name))) {
      throw unusual("a header that programs read differently");
    }
    if (name === "path") path = value;
    at += length;
  }
  return path;
}

async function refuseMore(rest: Blob): Promise<void> {
  for await (const piece of piecesOf(rest)) if (!piece.every(isZero)) throw unusual("something after its end");
}

async function* piecesOf(part: Blob): AsyncGenerator<Uint8Array> {
  const reader = part.stream().getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
}

async function read(file: File, at: number, length: number): Promise<Uint8Array> {
  const found = await bytesOf(file.slice(at, at + length));
  if (found.length < length) throw endsEarly();
  return found;
}

async function bytesOf(part: Blob): Promise<Uint8Array> {
  return new Uint8Array(await part.arrayBuffer());
}

function isZero(byte: number): boolean {
  return byte === 0;
}

/** A field up to its first zero byte. */
function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

function endsEarly(): Problem {
  return Problem.local("corrupted", "The bundle ends early.", "Fetch it again, and compare its size.");
}

function tooLarge(): Problem {
  return Problem.local("invalid-input", "The bundle holds a file of 8 GiB or more.", `Unpack it, and drop ${WEIGHTS} itself.`);
}

function unusual(what: string): Problem {
  return Problem.local(
    "corrupted",
    `The bundle holds ${what}.`,
    `It may unpack to something else than is read here: unpack it, and drop ${WEIGHTS} itself.`,
  );
}
