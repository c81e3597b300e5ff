/**
 * Events as they happen: server-sent events while they come through, else the same path asked again and again.
 *
 * Both ways hand over each event once, in order, from the id that is asked for; after a pause nothing is missing. Read
 * from `fetch` and not by EventSource, which would have to know the name of every kind beforehand.
 */

import { get, send } from "./client.ts";
import type { Event, Page } from "./types.ts";

const PAUSE = 3000; // between two questions of the polling twin, and before a stream is opened anew
const GIVE_UP = 3; // streams in a row that bring nothing, after which this page only asks

/** Follow `path` from after the event `after` until `signal`; `heard` gets every event once. */
export async function follow(
  path: string,
  after: number,
  heard: (event: Event) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = after;
  let fruitless = 0;
  const take = (event: Event): void => {
    if (event.id <= last) return;
    last = event.id;
    fruitless = 0;
    heard(event);
  };
  while (!signal.aborted) {
    try {
      if (fruitless < GIVE_UP) {
        fruitless += 1;
        for await (const event of stream(path, last, signal)) take(event);
      } else {
        const page = await get<Page<Event>>(path, { query: { after: last }, signal });
        page.data.forEach(take);
        if (page.has_more) continue;
      }
    } catch {
      // Silence: asked again after the pause. The shell says that the server is away.
    }
    await pause(signal);
  }
}

async function* stream(path: string, after: number, signal: AbortSignal): AsyncGenerator<Event> {
  const response = await send("GET", path, { query: { after }, accept: "text/event-stream", signal });
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart())
          .join("\n");
        if (data !== "") yield JSON.parse(data) as Event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PAUSE);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
