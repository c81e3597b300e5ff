/** One tab at a time, and nothing that waits for ever, or longer than the vault is open. */

import { Problem } from "../../api/problem.ts";
import type { Hex } from "../../api/types.ts";
import { owner } from "./owner.svelte.ts";

const LONGEST = 60; // seconds that one tab waits for another

const BUSY = (): Problem =>
  Problem.local(
    "busy",
    "Another tab of this page, or your wallet, still waits for an answer.",
    "Answer or close it there, then try again. Nothing was signed here.",
  );
const SLOW = (): Problem =>
  Problem.local("unavailable", "The server took too long.", "Try again: what was signed is not signed twice.");
const LOCKED = (): Problem => Problem.local("denied", "Your vault was locked meanwhile.", "Unlock it and begin again.");

/** `work`, while no other tab signs a consent of this account. Who has to wait is told so, and not for long. */
export async function alone<T>(account: Hex, say: (words: string) => void, work: () => Promise<T>): Promise<T> {
  const name = `allod consents of ${account}`;
  const free = await navigator.locks.request(name, { ifAvailable: true }, async (lock) =>
    lock === null ? null : { made: await work() },
  );
  if (free !== null) return free.made;
  say("Another tab of this page, or your wallet, still waits for an answer…");
  const wait = limited(LONGEST, BUSY);
  try {
    return await navigator.locks.request(name, { signal: wait.signal }, () => {
      wait.end();
      return work();
    });
  } finally {
    wait.end();
  }
}

/** `work` with a signal that ends it after so many seconds, or when the vault is locked. */
export async function within<T>(seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const limit = limited(seconds, SLOW);
  try {
    return await work(limit.signal);
  } finally {
    limit.end();
  }
}

function limited(seconds: number, late: () => Problem): { signal: AbortSignal; end: () => void } {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late()), seconds * 1000);
  const stop = owner.onLock(() => limit.abort(LOCKED()));
  return {
    signal: limit.signal,
    end: () => {
      clearTimeout(timer);
      stop();
    },
  };
}
