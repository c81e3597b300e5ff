/**
 * What goes wrong, in the words of the server (RFC 9457): a sentence, what to do next, and an id to ask about.
 *
 * Every screen shows a `Problem` the same way. One that this page itself raises has the same members.
 */

export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string | null;
  hint?: string | null;
  instance?: string | null;
  trace_id?: string | null;
  errors?: { field: string; message: string }[] | null;
}

const NAMESPACE = "urn:allod:problem:";

export class Problem extends Error {
  readonly slug: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly hint: string;
  readonly trace: string;
  readonly document: Readonly<Record<string, unknown>>;

  /** `retryAfter` is when the server wants to be asked again, in seconds. */
  constructor(
    document: ProblemDocument,
    readonly retryAfter?: number,
  ) {
    super(document.title);
    this.name = "Problem";
    this.slug = document.type.startsWith(NAMESPACE) ? document.type.slice(NAMESPACE.length) : document.type;
    this.status = document.status;
    this.title = document.title;
    this.detail = document.detail ?? "";
    this.hint = document.hint ?? "";
    this.trace = document.trace_id ?? "";
    this.document = { ...document };
  }

  /** A problem that this page found by itself, without asking the server. */
  static local(slug: string, title: string, hint: string): Problem {
    return new Problem({ type: NAMESPACE + slug, title, status: 0, hint });
  }

  /** Nobody answered: the network, or the server, is away. */
  static offline(): Problem {
    return Problem.local(
      "offline",
      "The server does not answer.",
      "Check your connection, then try again. Nothing is lost, and nothing is done twice.",
    );
  }

  get isOffline(): boolean {
    return this.slug === "offline";
  }
}

/** Whatever was thrown, as a problem that can be shown. A stack or a foreign message is never shown as advice. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  if (isSpoken(thrown)) return Problem.local(thrown.slug, thrown.message, thrown.hint);
  const what = thrown instanceof Error ? thrown.message : String(thrown);
  return new Problem({
    type: NAMESPACE + "page",
    title: "This page met something it did not expect.",
    status: 0,
    detail: what.slice(0, 200),
    hint: "Reload the page. If it happens again, report the sentence above.",
  });
}

/** The libraries below this page (vault, readers, deeds) throw errors with a slug and a next step of their own. */
interface Spoken extends Error {
  readonly slug: string;
  readonly hint: string;
}

function isSpoken(thrown: unknown): thrown is Spoken {
  return thrown instanceof Error && "slug" in thrown && "hint" in thrown && typeof thrown.hint === "string";
}
