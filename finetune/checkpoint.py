"""Checkpoints of a running job on disk: sealed to the job, one at a time, destroyed with it.

A checkpoint memorises what was trained on, so its bytes are AES-256-GCM under a key that follows from the job's private
key; that key ends with the job, and every checkpoint with it. Each file has a key of its own (a fresh salt), so its
chunks may count their nonces from 0; all of them are bound to job, step, plan and ledger. Only a whole checkpoint ever
takes the place of the one before. Exact bytes: docs/format/71-plan-ledger.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput
from core.files import shred, write_atomic
from core.ids import JobId
from finetune.frames import MAX_STATE

LABEL = b"allod/checkpoint/v1\0"
NAME = "checkpoint"
CHUNK = 1 << 20
TAG = 16
_HEADER_LIMIT = 4096


@dataclass(frozen=True)
class Every:
    """A checkpoint is taken after so many steps or seconds, whichever comes first."""

    steps: int = 50
    seconds: float = 60.0


@dataclass(frozen=True)
class Point:
    """Where in a job a state was taken: every step before `step` of the plan has completed, and `head` is the hash of
    the ledger's last entry at that moment."""

    step: int
    plan: bytes
    head: bytes


class Checkpoints:
    """The checkpoint of one job, in its folder."""

    def __init__(self, folder: Path, private: bytes, job: JobId) -> None:
        """`private` is the job's private key."""
        self._path = folder / NAME
        self._private = private
        self._job = job
        clear_unfinished(folder)

    def keep(self, point: Point, size: int, pieces: Iterable[bytes]) -> None:
        """Seal a state of `size` bytes as it comes, and have it replace the one before when all of it is durable."""
        header = encode_cbor(
            {
                "v": 1,
                "kind": "checkpoint",
                "job": self._job,
                "step": point.step,
                "plan": point.plan,
                "head": point.head,
                "size": size,
                "salt": secrets.token_bytes(32),
            }
        )
        write_atomic(self._path, self._sealed(header, pieces))

    def point(self) -> Point | None:
        """Where the checkpoint was taken, None if there is none; `Corrupted` if it is damaged or another job's."""
        if not self._path.exists():
            return None
        for _ in self._open():  # all of it, so that what is damaged far behind is noticed before a trainer is fed
            pass
        value, _ = self._header()
        return Point(value["step"], value["plan"], value["head"])

    def state(self) -> tuple[int, Iterator[bytes]]:
        """The size of the kept state, and its bytes as they are opened."""
        return int(self._header()[0]["size"]), self._open()

    def _sealed(self, header: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
        cipher = self._cipher(decode_cbor(header)["salt"])
        yield len(header).to_bytes(4, "big") + header
        for number, chunk in enumerate(_chunks(pieces)):
            yield cipher.encrypt(_nonce(number), chunk, header)

    def _open(self) -> Iterator[bytes]:
        value, header = self._header()
        cipher, left, number = self._cipher(value["salt"]), value["size"], 0
        with open(self._path, "rb") as file:
            file.seek(4 + len(header))
            while left or number == 0:
                size = min(CHUNK, left)
                try:
                    yield cipher.decrypt(_nonce(number), file.read(size + TAG), header)
                except InvalidTag:
                    raise _damaged() from None
                left, number = left - size, number + 1
            if file.read(1):
                raise _damaged()

    def _header(self) -> tuple[dict[str, Any], bytes]:
        with open(self._path, "rb") as file:
            length = int.from_bytes(file.read(4), "big")
            header = file.read(length) if length <= _HEADER_LIMIT else b""
        try:
            value = decode_cbor(header)
            point = Point(value["step"], value["plan"], value["head"])
            expected = {
                "v": 1, "kind": "checkpoint", "job": self._job, "step": point.step, "plan": point.plan,
                "head": point.head, "size": value["size"], "salt": value["salt"],
            }  # fmt: skip
            numbers = all(type(value[name]) is int and value[name] >= 0 for name in ("step", "size"))
            octets = all(type(value[name]) is bytes and len(value[name]) == 32 for name in ("plan", "head", "salt"))
            if value != expected or not numbers or not octets or value["size"] > MAX_STATE:
                raise InvalidInput("Not a checkpoint of this job.")
        except (InvalidInput, KeyError, TypeError):
            raise _damaged() from None
        return value, header

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), 32, salt=salt, info=LABEL + self._job).derive(self._private))


def destroy_checkpoint(folder: Path) -> None:
    """Overwrite and remove the job's checkpoint; once more changes nothing."""
    shred(folder / NAME)
    clear_unfinished(folder)


def clear_unfinished(folder: Path) -> None:
    """Remove what a kill left of a checkpoint that was being written."""
    for path in folder.glob(f".{NAME}.*"):
        shred(path)


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of which only the last is shorter; one empty chunk for no bytes."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    yield bytes(held)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _damaged() -> Corrupted:
    return Corrupted("The job's checkpoint is damaged, or belongs to another job.", hint="Run the job again.")
