/** The same request again, where the server was busy or silent: what a client does by docs/format/21-uploads.md. */

import { Problem } from "../../api/problem.ts";

const TRIES = 5;
const LONGEST = 60; // seconds; a server that wants to be left alone for longer is one that refuses

/** What `ask` gives, asked again after 429, 503 or no answer; an aborted `signal` ends the waiting too. */
export async function untilAnswered<T>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await ask();
    } catch (thrown) {
      if (!(thrown instanceof Problem) || !isPassing(thrown) || tried === TRIES) throw thrown;
      const seconds = thrown.retryAfter ?? 2 ** (tried - 1);
      if (seconds > LONGEST) throw thrown;
      await pause(seconds, signal);
    }
  }
}

function isPassing(problem: Problem): boolean {
  return problem.isOffline || problem.status === 429 || problem.status === 503;
}

async function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const woken = new AbortController();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    const end = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", end, { signal: woken.signal });
  }).finally(() => woken.abort());
}
