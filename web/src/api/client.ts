/**
 * The one way to the server: JSON in and out, problems thrown, the CSRF token added, silence told from refusal.
 *
 * A call that starts something (money, a job, a transaction) carries an Idempotency-Key that its caller keeps, so that
 * sending it again after a cut connection never does it twice.
 */

import { Problem, type ProblemDocument } from "./problem.ts";
import type { Session } from "./types.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

export interface Options {
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  bytes?: { data: Uint8Array<ArrayBuffer> | Blob; type: string };
  key?: string;
  accept?: string;
  signal?: AbortSignal;
}

type Listener = (reachable: boolean) => void;

let session: Session | undefined;
let renew: (() => Promise<boolean>) | undefined;
let renewing: Promise<boolean> | undefined;
const listeners = new Set<Listener>();

/** Who is signed in, with the token that unsafe calls repeat; undefined for nobody. */
export function useSession(found: Session | undefined): void {
  session = found;
}

export function isSignedIn(): boolean {
  return session !== undefined;
}

/** Hear of every answer (true) and every silence (false). Returns how to stop. */
export function onReach(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What to do when the session has ended: sign in again and say whether that worked. */
export function useRenewal(renewal: () => Promise<boolean>): void {
  renew = renewal;
}

/** A fresh key for one act. */
export function newKey(): string {
  return crypto.randomUUID();
}

function address(path: string, query: Options["query"]): string {
  const pairs = Object.entries(query ?? {}).filter((pair): pair is [string, string | number] => pair[1] !== undefined);
  if (pairs.length === 0) return path;
  return `${path}?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** Send it; the answer is one that the server meant (2xx), else a `Problem` is thrown. An ended session is renewed. */
export async function send(method: Method, path: string, options: Options = {}): Promise<Response> {
  const used = session;
  try {
    return await sendOnce(method, path, options);
  } catch (thrown) {
    if (!(thrown instanceof Problem) || !(await mended(thrown.status, method, path, used))) throw thrown;
    return await sendOnce(method, path, options);
  }
}

/** Whether what the server refused may be sent once more. */
async function mended(status: number, method: Method, path: string, used: Session | undefined): Promise<boolean> {
  if (status === 401 && !path.startsWith("/v1/sessions") && renew !== undefined) {
    renewing ??= renew().finally(() => (renewing = undefined));
    return await renewing;
  }
  return status === 403 && method !== "GET" && used !== undefined && (await reread(used));
}

/** Another tab signed in anew, as the same account: its session is this tab's too, under another token. */
async function reread(used: Session): Promise<boolean> {
  const found = await get<Session>("/v1/sessions/current").catch(() => undefined);
  if (found === undefined || found.account !== used.account || found.csrf_token === used.csrf_token) return false;
  if (session === used) session = found;
  return true;
}

async function sendOnce(method: Method, path: string, options: Options): Promise<Response> {
  const headers = new Headers({ Accept: options.accept ?? "application/json" });
  if (method !== "GET" && session !== undefined) headers.set("X-CSRF-Token", session.csrf_token);
  if (options.key !== undefined) headers.set("Idempotency-Key", options.key);
  let body: BodyInit | undefined;
  if (options.bytes !== undefined) {
    headers.set("Content-Type", options.bytes.type);
    body = options.bytes.data;
  } else if (options.body !== undefined) {
    headers.set("Content-Type", "application/json");
    body = JSON.stringify(options.body);
  }
  let response: Response;
  try {
    response = await fetch(address(path, options.query), {
      method,
      headers,
      credentials: "same-origin",
      ...(body === undefined ? {} : { body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (thrown) {
    if (options.signal?.aborted === true) throw thrown;
    for (const listener of listeners) listener(false);
    throw Problem.offline();
  }
  for (const listener of listeners) listener(true);
  if (!response.ok) throw await readProblem(response);
  return response;
}

/** Send it and read the JSON of the answer. */
export async function call<T>(method: Method, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

/** Read a document. */
export function get<T>(path: string, options: Options = {}): Promise<T> {
  return call<T>("GET", path, options);
}

async function readProblem(response: Response): Promise<Problem> {
  const after = /^[0-9]{1,9}$/.exec(response.headers.get("Retry-After") ?? "")?.[0];
  const retryAfter = after === undefined ? undefined : Number(after);
  try {
    const document = (await response.json()) as Partial<ProblemDocument>;
    if (typeof document.title === "string" && typeof document.type === "string") {
      const { type, title } = document;
      return new Problem({ ...document, type, title, status: response.status }, retryAfter);
    }
  } catch {
    // It is no problem document (a proxy's page, perhaps): said below.
  }
  const document = {
    type: "urn:allod:problem:error",
    title: `The server answered ${response.status} without saying why.`,
    status: response.status,
    hint: "Try again in a minute.",
    trace_id: response.headers.get("X-Request-ID"),
  };
  return new Problem(document, retryAfter);
}
