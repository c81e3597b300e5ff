/** Short news at the edge of the screen, read aloud politely. What must be acted on is never only a toast. */

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: "good" | "bad" | "plain";
}

class Toasts {
  shown: Toast[] = $state([]);
  #next = 1;

  say(text: string, tone: Toast["tone"] = "plain"): void {
    const id = this.#next++;
    this.shown = [...this.shown.slice(-2), { id, text, tone }];
    setTimeout(() => this.drop(id), 8000);
  }

  drop(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
