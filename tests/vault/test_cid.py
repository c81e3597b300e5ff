"""CIDs: one form in, one form out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.encoding import Link
from core.errors import InvalidInput
from vault.cid import CODECS, DAG_CBOR, DAG_PB, RAW, Cid

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cid.json").read_text())


def test_hello_world_has_the_cid_that_the_whole_world_gives_it() -> None:
    assert str(Cid.of(RAW, b"hello world")) == VECTORS["files"][0]["cid"]


@given(codec=st.sampled_from(sorted(CODECS)), digest=st.binary(min_size=32, max_size=32))
def test_text_and_binary_forms_come_back_as_the_same_cid(codec: int, digest: bytes) -> None:
    cid = Cid(codec, digest)
    assert Cid.parse(str(cid)) == Cid.parse(cid.bytes) == Cid.from_link(cid.link) == cid
    assert len(cid.bytes) == 36
    assert hash(Cid.parse(str(cid))) == hash(cid)


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_any_other_spelling_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        Cid.parse(case["text"])


@given(text=st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567018=Bé", min_size=57, max_size=61))
def test_text_that_parses_is_the_text_that_is_printed(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except InvalidInput:
        return
    assert str(cid) == text


def test_a_cid_with_its_last_letter_changed_is_another_or_none() -> None:
    text = str(Cid.of(DAG_PB, b"x"))
    parsed = set()
    for letter in "abcdefghijklmnopqrstuvwxyz234567":
        try:
            parsed.add(Cid.parse(text[:-1] + letter))
        except InvalidInput:
            continue
    assert len(parsed) == 8  # three of the last letter's five bits belong to the digest, two are spare


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x55\x12\x20" + bytes(31),
        b"\x01\x55\x12\x20" + bytes(33),
        b"\x00\x55\x12\x20" + bytes(32),
        b"\x01\x72\x12\x20" + bytes(32),
        b"\x01\x55\x13\x20" + bytes(32),
        b"\x01\x55\x12\x21" + bytes(32),
    ],
)
def test_binary_forms_outside_the_profile_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Cid.parse(data)
    with pytest.raises(InvalidInput):
        Cid.from_link(Link(data))


def test_a_cid_is_never_made_of_a_short_digest_or_a_foreign_codec() -> None:
    with pytest.raises(InvalidInput):
        Cid(RAW, bytes(20))
    with pytest.raises(InvalidInput):
        Cid(0x12, bytes(32))


def test_cids_of_one_content_differ_by_codec() -> None:
    digest = hashlib.sha256(b"a").digest()
    assert len({Cid(RAW, digest), Cid(DAG_PB, digest), Cid(DAG_CBOR, digest), Cid.of(RAW, b"a")}) == 3
