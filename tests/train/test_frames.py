"""Frames on the trainer's pipe."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput
from finetune.frames import (
    MAX_FRAME,
    numbers_from_bytes,
    numbers_to_bytes,
    read_frame,
    row_from_wire,
    row_to_wire,
    write_frame,
)
from finetune.packing import Document, pack


def framed(value: object) -> bytes:
    body = encode_cbor(value)
    return len(body).to_bytes(4, "big") + body


def test_frames_come_out_as_they_went_in_and_a_clean_end_is_no_frame() -> None:
    pipe = io.BytesIO()
    frames = [{"kind": "finish"}, {"kind": "file", "name": "a", "data": b"\0" * 3000}]
    for frame in frames:
        write_frame(pipe, frame)
    pipe.seek(0)
    assert [read_frame(pipe), read_frame(pipe), read_frame(pipe)] == [*frames, None]


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 12])
def test_a_pipe_that_ends_inside_a_frame_is_damage_not_an_end(cut: int) -> None:
    with pytest.raises(Corrupted):
        read_frame(io.BytesIO(framed({"kind": "finish"})[:cut]))


class Endless(io.RawIOBase):
    """A pipe that would go on for ever, and counts what was taken from it."""

    def __init__(self, head: bytes) -> None:
        self.head, self.taken = head, 0

    def read(self, size: int = -1) -> bytes:
        part, self.head = (self.head[:size], self.head[size:]) if self.head else (b"\0" * size, b"")
        self.taken += len(part)
        return part


def test_an_announced_giant_is_refused_before_it_is_read() -> None:
    pipe = Endless((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(Corrupted):
        read_frame(pipe)  # type: ignore[arg-type]
    assert pipe.taken == 4


@pytest.mark.parametrize(
    "body",
    [
        framed([1, 2]),
        framed({"kind": 3}),
        framed({"no": "kind"}),
        b"\0\0\0\x01\xff",
        b"\0\0\0\0",
        b"\0\0\0\x0b\xbf\x64kind\x63abc\xff",  # a map of unstated length: not the one encoding
    ],
)
def test_what_is_no_map_with_a_kind_in_its_one_encoding_is_damage(body: bytes) -> None:
    with pytest.raises(Corrupted):
        read_frame(io.BytesIO(body))


def test_a_frame_too_large_to_be_read_is_not_written() -> None:
    pipe = io.BytesIO()
    with pytest.raises(InvalidInput):
        write_frame(pipe, {"kind": "file", "data": bytes(MAX_FRAME)})
    assert pipe.getvalue() == b""


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_numbers_survive_and_are_little_endian(numbers: list[int]) -> None:
    data = numbers_to_bytes(numbers)
    assert data == b"".join(n.to_bytes(4, "little", signed=True) for n in numbers)
    assert numbers_from_bytes(data) == numbers


@pytest.mark.parametrize("numbers", [[2**31], [-(2**31) - 1], ["a"], [1.5]])
def test_what_does_not_fit_32_bits_is_no_token(numbers: list[object]) -> None:
    with pytest.raises(InvalidInput):
        numbers_to_bytes(numbers)  # type: ignore[arg-type]


def test_the_child_learns_neither_record_nor_owner() -> None:
    (row,) = pack([Document(b"record-of-ada", 1, [5, 6, 7], [5, 6, 7])], 8)
    wire = row_to_wire(row)
    assert b"record-of-ada" not in encode_cbor(wire)
    again = row_from_wire(wire)
    assert (again.input_ids, again.labels, again.position_ids) == ([5, 6, 7], [-100, 6, 7], [0, 1, 2])
    assert again.parts == []
    assert again.loss_tokens == row.loss_tokens == 2


@pytest.mark.parametrize("wire", [None, {}, {"input_ids": b"", "labels": b"", "position_ids": b"", "mask": b""}])
def test_a_row_with_other_lists_is_damage(wire: object) -> None:
    with pytest.raises(Corrupted):
        row_from_wire(wire)
