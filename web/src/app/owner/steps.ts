/**
 * An act of several steps that may be tried again: what was done is not done twice.
 *
 * A step's result is kept under its name, so that a second attempt signs nothing anew; each sending has one
 * Idempotency-Key for all attempts.
 */

import { newKey } from "../../api/client.ts";

export class Steps {
  readonly #done = new Map<string, unknown>();
  readonly #keys = new Map<string, string>();

  async once<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (!this.#done.has(name)) this.#done.set(name, await work());
    return this.#done.get(name) as T;
  }

  key(name: string): string {
    const known = this.#keys.get(name) ?? newKey();
    this.#keys.set(name, known);
    return known;
  }
}
