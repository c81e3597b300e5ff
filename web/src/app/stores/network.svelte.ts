/** Whether the server answers. One silence is enough to say so; then it is asked until it is back. */

import { get, onReach } from "../../api/client.ts";

const PAUSES = [1000, 2000, 4000, 8000, 15000];

class Network {
  reachable = $state(true);
  #waiting = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tries = 0;

  constructor() {
    onReach((answered) => {
      if (answered) this.#back();
      else this.#away();
    });
    addEventListener("online", () => this.#ask());
    addEventListener("offline", () => this.#away());
  }

  /** Called each time that the server is back after a silence; returns how to stop. */
  onReturn(then: () => void): () => void {
    this.#waiting.add(then);
    return () => this.#waiting.delete(then);
  }

  #away(): void {
    this.reachable = false;
    if (this.#timer !== undefined) return;
    const pause = PAUSES[Math.min(this.#tries, PAUSES.length - 1)];
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#ask(), pause);
  }

  #ask(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // The answer or the silence comes back through `onReach`.
    void get("/livez").catch(() => undefined);
  }

  #back(): void {
    this.#tries = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.reachable) return;
    this.reachable = true;
    this.again();
  }

  /** What could not be had is asked for anew. */
  again(): void {
    for (const then of [...this.#waiting]) then();
  }
}

export const network = new Network();
