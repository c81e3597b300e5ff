/**
 * Acts that are on their way to the chain. The server keeps them, so they are all here again after a reload.
 *
 * An act is over when it is `final` or `failed`; until then it is asked about, at once when the activity stream names
 * it and every two seconds besides.
 */

import { get } from "../../api/client.ts";
import type { Operation, OperationState, Page } from "../../api/types.ts";

const PAUSE = 2000;
const OVER: readonly OperationState[] = ["final", "failed"];

export function isOver(operation: Operation): boolean {
  return OVER.includes(operation.state);
}

class Operations {
  all: Operation[] = $state.raw([]);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = new Set<(operation: Operation) => void>();

  get pending(): Operation[] {
    return this.all.filter((operation) => !isOver(operation));
  }

  find(id: string): Operation | undefined {
    return this.all.find((operation) => operation.id === id);
  }

  /** Called once for each act that is over, while this page is open. Returns how to stop. */
  onOver(then: (operation: Operation) => void): () => void {
    this.#heard.add(then);
    return () => this.#heard.delete(then);
  }

  /** What the server still has under way: after signing in, and after a reload. */
  async resume(): Promise<void> {
    const states: OperationState[] = ["accepted", "sent", "included"];
    const pages = await Promise.all(states.map((state) => get<Page<Operation>>("/v1/operations", { query: { state, limit: 100 } })));
    for (const operation of pages.flatMap((page) => page.data)) this.#put(operation);
    this.#watch();
  }

  /** An act that was just accepted. */
  add(operation: Operation): void {
    this.#put(operation);
    this.#watch();
  }

  /** Ask about these now (the activity stream named them), or about all that are under way. */
  async ask(ids: readonly string[] = this.pending.map((one) => one.id)): Promise<void> {
    const answers = await Promise.allSettled(
      ids.map((id) => get<Operation>(`/v1/operations/${encodeURIComponent(id)}`)),
    );
    for (const answer of answers) if (answer.status === "fulfilled") this.#put(answer.value);
  }

  forget(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.all = [];
  }

  #put(operation: Operation): void {
    const before = this.find(operation.id);
    this.all = [operation, ...this.all.filter((one) => one.id !== operation.id)];
    if (isOver(operation) && (before === undefined || !isOver(before))) {
      for (const then of [...this.#heard]) then(operation);
    }
  }

  #watch(): void {
    if (this.#timer !== undefined || this.pending.length === 0) return;
    this.#timer = setTimeout(() => {
      void this.ask().finally(() => {
        this.#timer = undefined;
        this.#watch();
      });
    }, PAUSE);
  }
}

export const operations = new Operations();
