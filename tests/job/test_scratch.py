"""The scratch keeps tokens sealed, gives them back by number, and forgets a consent for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import ConsentId
from finetune.packing import NO_LOSS
from finetune.scratch import Scratch

ADA, BRUNO = ConsentId(b"a" * 32), ConsentId(b"b" * 32)
RECORDS = st.lists(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=40), min_size=1, max_size=8
)


@given(RECORDS)
@settings(max_examples=40, deadline=None)
def test_every_record_comes_back_in_any_order(records: list[list[tuple[int, bool]]]) -> None:
    split = [([t for t, _ in r], [t if bears else NO_LOSS for t, bears in r]) for r in records]
    with Scratch(Path("/tmp")) as scratch:
        scratch.begin(ADA)
        numbers = [scratch.add(*record) for record in split]
        for number in reversed(numbers):
            assert scratch.read(number) == split[number]


def test_a_forgotten_consent_stays_closed_and_the_others_open(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.begin(ADA)
        first = scratch.add([1, 2], [1, 2])
        scratch.begin(BRUNO)
        second = scratch.add([3], [3])
        scratch.forget(ADA)
        with pytest.raises(NotFound):
            scratch.read(first)
        assert scratch.read(second) == ([3], [3])
        with pytest.raises(InvalidInput):
            scratch.begin(ADA)


def test_the_file_has_no_name_and_no_token_shows_in_it(tmp_path: Path) -> None:
    tokens = list(range(1_000_000, 1_000_400))
    with Scratch(tmp_path) as scratch:
        scratch.begin(ADA)
        number = scratch.add(tokens, tokens)
        assert scratch.read(number)[0] == tokens
        assert list(tmp_path.iterdir()) == []
        raw = os.pread(scratch._file.fileno(), 1 << 20, 0)
        assert len(raw) > 1600
        assert not any(token.to_bytes(4, "little") in raw for token in tokens)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.begin(ADA)
        number = scratch.add([7] * 20, [7] * 20)
        scratch.read(number)
        os.pwrite(scratch._file.fileno(), b"\xff", 5)
        with pytest.raises(Corrupted):
            scratch.read(number)


def test_a_label_is_its_token_or_nothing(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.begin(ADA)
        with pytest.raises(InvalidInput):
            scratch.add([1], [2])
