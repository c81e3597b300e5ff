"""Tokenised records of a running job, sealed and out of memory, each readable by its number.

Training reads records in random order; opening a whole 1 MiB segment for each would cost more than the step. So every
object is opened once, and its tokens are sealed again, one AES-256-GCM message a record, into a file that has no name
and vanishes with the process. The keys, one for each consent, are never written; forgetting one ends that consent's
data at once and for good. Memory stays at a few bytes a record.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import ConsentId
from finetune.packing import NO_LOSS


class Scratch:
    """Append records of one consent after another, then read them by number in any order."""

    def __init__(self, folder: Path) -> None:
        """Put the nameless file on the disk that holds `folder`."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._ends = array("Q", [0])
        self._groups = array("I")
        self._consents: list[ConsentId] = []
        self._keys: dict[ConsentId, AESGCM] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def begin(self, consent: ConsentId) -> None:
        """Take the records that follow under a fresh key of `consent`."""
        if consent in self._consents:
            raise InvalidInput("The records of one consent are written in one go.")
        self._consents.append(consent)
        self._keys[consent] = AESGCM(secrets.token_bytes(32))

    def add(self, ids: Sequence[int], labels: Sequence[int]) -> int:
        """Seal one record and return its number; a label is its token or −100."""
        number, consent = len(self), self._consents[-1]
        tokens = array("I", ids)
        if sys.byteorder == "big":
            tokens.byteswap()
        bearing = bytearray((len(tokens) + 7) // 8)
        for index, (token, label) in enumerate(zip(ids, labels, strict=True)):
            if label == token:
                bearing[index // 8] |= 1 << index % 8
            elif label != NO_LOSS:
                raise InvalidInput("A label is its token, or says that the token bears no loss.")
        # Each key seals each number at most once, so the number is a nonce that never repeats.
        sealed = self._keys[consent].encrypt(_nonce(number), tokens.tobytes() + bearing, None)
        self._file.write(sealed)
        self._ends.append(self._ends[-1] + len(sealed))
        self._groups.append(len(self._consents) - 1)
        return number

    def read(self, number: int) -> tuple[list[int], list[int]]:
        """Tokens and labels of a record; `NotFound` once its consent is forgotten."""
        key = self._keys.get(self._consents[self._groups[number]])
        if key is None:
            raise NotFound("This record's consent has ended, and its key with it.")
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        try:
            plain = key.decrypt(_nonce(number), self._file.read(end - start), None)
        except InvalidTag:
            raise Corrupted(
                "The job's scratch file was changed while the job ran.", hint="Run the job again."
            ) from None
        count = 8 * len(plain) // 33  # 32 bits a token and one for its label, rounded up to bytes
        tokens = array("I", plain[: 4 * count])
        if sys.byteorder == "big":
            tokens.byteswap()
        bearing = plain[4 * count :]
        ids = tokens.tolist()
        return ids, [token if bearing[i // 8] >> i % 8 & 1 else NO_LOSS for i, token in enumerate(ids)]

    def forget(self, consent: ConsentId) -> None:
        """Drop the key of a consent; none of its records opens again."""
        self._keys.pop(consent, None)

    def close(self) -> None:
        """Drop every key, and the file with them."""
        self._keys.clear()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
