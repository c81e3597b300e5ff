/** The same error tree as core/errors.py: a sentence, what to do next, a stable slug. Never a key or plaintext. */
export class AllodError extends Error {
  readonly slug: string = "error";

  constructor(
    message: string,
    readonly hint = "",
    readonly detail: Readonly<Record<string, string | number | readonly string[]>> = {},
  ) {
    super(message);
  }

  override get name(): string {
    return this.slug;
  }
}

/** What was given is not of the form that is asked for. */
export class InvalidInput extends AllodError {
  override readonly slug = "invalid-input";
}

/** The thing named does not exist here. */
export class NotFound extends AllodError {
  override readonly slug = "not-found";
}

/** Who asks may not: a wrong passphrase, a foreign identity. */
export class Denied extends AllodError {
  override readonly slug = "denied";
}

/** A keeper, a contract or a consent says no, with a reason; or a person does, in a wallet. */
export class Refused extends AllodError {
  override readonly slug = "refused";
}

/** It was done already, or it contradicts what was done. */
export class Conflict extends AllodError {
  override readonly slug = "conflict";
}

/** Bytes are not what their hash, tag or signature promises. Nothing of them was released. */
export class Corrupted extends AllodError {
  override readonly slug = "corrupted";
}

/** Somebody else holds it; the message names the holder. */
export class Busy extends AllodError {
  override readonly slug = "busy";
}

/** A part that is needed does not answer or is missing. */
export class Unavailable extends AllodError {
  override readonly slug = "unavailable";
}
