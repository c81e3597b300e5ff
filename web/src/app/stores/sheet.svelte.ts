/**
 * The one way to act on the chain: say what will happen, what it costs and what it cannot undo; then sign, then follow.
 *
 * A `Plan` holds the sentences and the act. The act signs, sends, adds each operation that the server accepts to those
 * under way, and gives them back; from then on the server carries them, and this page may close.
 */

import { type Problem, problemOf } from "../../api/problem.ts";
import type { Operation } from "../../api/types.ts";
import { owner } from "../owner/owner.svelte.ts";
import { isOver, operations } from "./operations.svelte.ts";

export interface Plan {
  readonly title: string;
  readonly will: readonly string[];
  readonly costs: string;
  readonly cannot: readonly string[];
  readonly button: string;
  readonly danger?: boolean;
  /** Whether it lets others read: then the sheet says where plaintext may exist. */
  readonly opens?: boolean;
  /** Signs and sends; `say` tells what it is at. Doing it again after a failure must not do it twice. */
  act(say: (words: string) => void): Promise<Operation[]>;
  /** When the server has accepted it. */
  sent?(): void;
}

/** `refused`: there is nothing to sign, for the reason told. */
export type Stage = "drafting" | "refused" | "review" | "acting" | "following" | "failed";

class Sheet {
  plan: Plan | undefined = $state.raw();
  stage: Stage = $state("review");
  saying = $state("");
  problem: Problem | undefined = $state.raw();
  #ids: string[] = $state.raw([]);

  constructor() {
    owner.onLock(() => (this.plan = undefined));
  }

  get operations(): Operation[] {
    return this.#ids.map((id) => operations.find(id)).filter((one) => one !== undefined);
  }

  get isOver(): boolean {
    return this.stage === "following" && this.operations.every(isOver);
  }

  /** Show at once that something is to be signed, and what it is as soon as it is drafted. */
  async prepare(title: string, draft: () => Promise<Plan>): Promise<void> {
    const waiting = { title, will: [], costs: "", cannot: [], button: "", act: () => Promise.resolve([]) };
    this.open(waiting);
    this.stage = "drafting";
    try {
      const plan = await draft();
      if (this.plan === waiting) this.open(plan);
    } catch (thrown) {
      if (this.plan !== waiting) return;
      this.problem = problemOf(thrown);
      this.stage = "refused";
    }
  }

  open(plan: Plan): void {
    this.plan = plan;
    this.stage = "review";
    this.problem = undefined;
    this.saying = "";
    this.#ids = [];
  }

  /** An act that is under way already: after a reload, or from the list of what is under way. */
  follow(plan: Plan, operation: Operation): void {
    this.open(plan);
    this.#ids = [operation.id];
    this.stage = "following";
  }

  async go(): Promise<void> {
    const plan = this.plan;
    if (plan === undefined || (this.stage !== "review" && this.stage !== "failed")) return;
    this.stage = "acting";
    this.problem = undefined;
    this.saying = "Signing on this device…";
    try {
      const accepted = await owner.act(() => plan.act((words) => (this.saying = words)));
      if (this.plan !== plan) return; // the vault was locked meanwhile
      this.#ids = accepted.map((operation) => operation.id);
      this.stage = "following";
      plan.sent?.();
    } catch (thrown) {
      if (this.plan !== plan) return;
      this.problem = problemOf(thrown);
      this.stage = "failed";
    }
  }

  close(): void {
    if (this.stage === "acting") return;
    this.plan = undefined;
  }
}

export const sheet = new Sheet();
