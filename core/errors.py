"""The one error tree of Allod.

Every error that a user may meet is an `AllodError`: a sentence that says what went wrong, a sentence
that says what to do next, a stable slug for programs, an HTTP status and an exit code. CLI, API and
web show the same words. No message ever carries plaintext, a key or a recovery word.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AllodError(Exception):
    """Something a user can act on.

    `message` says what is wrong, `hint` what to do next. `detail` holds machine-readable facts
    (numbers, ids; never secrets) that `--json` prints beside them.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    slug: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def document(self) -> dict[str, Any]:
        """This error as the JSON that `--json` and HTTP print (RFC 9457 member names)."""
        return {
            "type": self.slug,
            "status": self.status,
            "title": self.message,
            "next": self.hint,
            **({"detail": self.detail} if self.detail else {}),
        }


class InvalidInput(AllodError):
    """What was given is not of the form that is asked for."""

    status, exit_code, slug = 422, 2, "invalid-input"


class NotFound(AllodError):
    """The thing named does not exist here."""

    status, exit_code, slug = 404, 3, "not-found"


class Denied(AllodError):
    """Who asks may not: a wrong passphrase, a foreign identity."""

    status, exit_code, slug = 403, 4, "denied"


class Refused(AllodError):
    """A keeper, a contract or a consent says no, with a reason."""

    status, exit_code, slug = 403, 5, "refused"


class Conflict(AllodError):
    """It was done already, or it contradicts what was done."""

    status, exit_code, slug = 409, 6, "conflict"


class Corrupted(AllodError):
    """Bytes are not what their hash, tag or signature promises. Nothing of them was released."""

    status, exit_code, slug = 422, 7, "corrupted"


class Busy(AllodError):
    """Another process holds it; the message names the holder."""

    status, exit_code, slug = 423, 8, "busy"


class Unavailable(AllodError):
    """A part that is needed does not answer or is not installed."""

    status, exit_code, slug = 503, 9, "unavailable"


class VerificationFailed(AllodError):
    """A claim about a job does not hold; the message is the claim that broke."""

    status, exit_code, slug = 422, 10, "verification-failed"
