/**
 * An act of several steps that may be tried again: what was done is not done twice.
 *
 * A step's result is kept under its name, so that a second attempt signs nothing anew; each sending has one
 * Idempotency-Key for all attempts.
 */

import { call, newKey } from "../../api/client.ts";
import type { Operation } from "../../api/types.ts";
import { operations } from "../stores/operations.svelte.ts";

export class Steps {
  readonly #done = new Map<string, unknown>();
  readonly #keys = new Map<string, string>();

  async once<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (!this.#done.has(name)) this.#done.set(name, await work());
    return this.#done.get(name) as T;
  }

  /** Post it. What the server accepted is followed from then on, whatever becomes of the rest of the act. */
  async send(name: string, path: string, body: unknown): Promise<Operation> {
    return await this.once(`${name}, sent`, async () => {
      const key = this.#keys.get(name) ?? newKey();
      this.#keys.set(name, key);
      const operation = await call<Operation>("POST", path, { body, key });
      operations.add(operation);
      return operation;
    });
  }
}
