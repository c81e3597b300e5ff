/**
 * Paths and screens: the History API, one chunk of script for each screen, and where the focus goes.
 *
 * Links stay links (`<a href>`): a click on one of ours becomes a change of screen here, everything else is the
 * browser's.
 */

import type { Component } from "svelte";

export interface Params {
  readonly id?: string;
}

export interface Screen {
  readonly path: string;
  readonly title: string;
  /** Whether it needs an unlocked vault. */
  readonly owner: boolean;
  readonly load: () => Promise<{ default: Component<Params> | Component<Record<string, never>> }>;
}

export interface Found {
  readonly screen: Screen;
  readonly params: Params;
}

/** The screen of a path: the same text, or the same text with a last segment in place of `:id`. */
export function match(screens: readonly Screen[], path: string): Found | undefined {
  const wanted = path.length > 1 ? path.replace(/\/+$/, "") : path;
  for (const screen of screens) {
    if (screen.path === wanted) return { screen, params: {} };
    if (!screen.path.endsWith("/:id")) continue;
    const parent = screen.path.slice(0, -3);
    const last = wanted.slice(parent.length);
    if (wanted.startsWith(parent) && last !== "" && !last.includes("/")) {
      return { screen, params: { id: decoded(last) } };
    }
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class Router {
  path = $state(location.pathname);
  search = $state(location.search);

  constructor() {
    addEventListener("popstate", () => this.#take());
  }

  go(to: string, how: "push" | "replace" = "push"): void {
    const url = new URL(to, location.href);
    if (how === "replace") history.replaceState(null, "", url);
    else if (url.href !== location.href) history.pushState(null, "", url);
    this.#take();
    scrollTo(0, 0);
  }

  /** A click anywhere on the page: ours if it is a plain click on a link into this page. */
  clicked(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download")) return;
    const url = new URL(link.href, location.href);
    if (url.origin !== location.origin || url.pathname.startsWith("/v1/") || url.hash !== "") return;
    event.preventDefault();
    this.go(url.pathname + url.search);
  }

  #take(): void {
    this.path = location.pathname;
    this.search = location.search;
  }
}

export const router = new Router();
