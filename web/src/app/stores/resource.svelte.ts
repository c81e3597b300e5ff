/**
 * Something that the server has and a screen shows: loading, there, empty, refused, or out of reach.
 *
 * A screen makes its own when it opens and asks again by `load`. What was there stays on the screen while it is asked
 * again, and after a failure that comes later; an older answer never replaces a newer one.
 */

import { Problem, problemOf } from "../../api/problem.ts";
import type { Page } from "../../api/types.ts";
import { network } from "./network.svelte.ts";
import { operations } from "./operations.svelte.ts";

export type Phase = "loading" | "ready" | "error" | "offline";

export class Resource<T> {
  data: T | undefined = $state.raw();
  problem: Problem | undefined = $state.raw();
  busy = $state(true);
  #turn = 0;
  readonly #ask: (signal: AbortSignal) => Promise<T>;
  #abort: AbortController | undefined;

  constructor(ask: (signal: AbortSignal) => Promise<T>) {
    this.#ask = ask;
  }

  get phase(): Phase {
    if (this.data !== undefined) return "ready";
    if (this.problem !== undefined) return this.problem.isOffline ? "offline" : "error";
    return "loading";
  }

  async load(): Promise<void> {
    const turn = ++this.#turn;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.busy = true;
    try {
      const data = await this.#ask(abort.signal);
      if (turn === this.#turn) {
        this.data = data;
        this.problem = undefined;
      }
    } catch (thrown) {
      if (turn === this.#turn && !abort.signal.aborted) this.problem = silence(problemOf(thrown));
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }

  /**
   * Load now, and again whenever the server comes back after a silence or an act of the owner's is over. For `$effect`:
   * returns how to stop.
   */
  open(): () => void {
    void this.load();
    const stops = [network.onReturn(() => void this.load()), operations.onOver(() => void this.load())];
    return () => {
      for (const stop of stops) stop();
      this.#turn += 1;
      this.#abort?.abort();
    };
  }
}

/** The vault says `unavailable` when its server is silent; screens tell that from a refusal. */
function silence(problem: Problem): Problem {
  return problem.slug === "unavailable" && !network.reachable ? Problem.offline() : problem;
}

/** A list that comes page by page. */
export class Listing<T> extends Resource<Page<T>> {
  readonly #page: (after: string | undefined, signal?: AbortSignal) => Promise<Page<T>>;
  more = $state(false);

  constructor(page: (after: string | undefined, signal?: AbortSignal) => Promise<Page<T>>) {
    super((signal) => page(undefined, signal));
    this.#page = page;
  }

  get rows(): T[] {
    return this.data?.data ?? [];
  }

  /** Fetch the next page and put it below. */
  async next(): Promise<void> {
    const now = this.data;
    if (now?.next_after == null || this.more) return;
    this.more = true;
    try {
      const page = await this.#page(now.next_after);
      if (this.data === now) this.data = { ...page, data: [...now.data, ...page.data] };
      this.problem = undefined;
    } catch (thrown) {
      this.problem = problemOf(thrown);
    } finally {
      this.more = false;
    }
  }
}
