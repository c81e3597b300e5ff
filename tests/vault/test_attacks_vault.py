"""Hostile documents, files and neighbours against the vault: each ends in a sentence, soon, and takes nothing along."""

from __future__ import annotations

import time

import pytest

from core.encoding import decode_cbor, decode_json, encode_cbor, encode_json
from core.errors import InvalidInput

SHARED, SHARE, STRINGS, STRING, FRACTION = b"\xd8\x1c", b"\xd8\x1d", b"\xd9\x01\x00", b"\xd8\x19", b"\xd8\x1e"


def laughs(depth: int) -> bytes:
    """Arrays that hold the one before them twice, by reference: 2^depth values in a few bytes."""
    levels = [SHARED + b"\x82" + 2 * (SHARE + bytes([0x18, level])) for level in range(depth)]
    return b"\x98" + bytes([depth + 1]) + SHARED + b"\x81\x00" + b"".join(levels)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(laughs(30), id="values that share each other"),
        pytest.param(
            STRINGS
            + b"\x9a\x00\x08\x00\x00\x5a\x00\x10\x00\x00"
            + bytes(1 << 20)
            + (STRING + b"\x00") * ((1 << 19) - 1),
            id="one long string named half a million times",
        ),
        pytest.param(
            FRACTION
            + b"\x82"
            + b"\xc2\x5a\x00\x10\x00\x00"
            + b"\xfe" * (1 << 20)
            + b"\xc2\x5a\x00\x10\x00\x00"
            + b"\xfd" * (1 << 20),
            id="a fraction to be shortened",
        ),
        pytest.param(b"\x81" * 3_000_000, id="nested without end"),
        pytest.param(b"\xd8\x2a" * 1_500_000, id="links of links"),
        pytest.param(b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", id="a list of more than there is"),
        pytest.param(b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", id="bytes of more than there are"),
        pytest.param(b"\x9f" * 1_000_000, id="lists left open"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x19", id="a number cut off"),
    ],
)
def test_a_document_that_stands_for_more_than_it_says_is_refused_at_once(bomb: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidInput):
        decode_cbor(bomb, limit=len(bomb))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"\\udfff":1}', b'["a\\ud800b"]'])
def test_half_a_character_is_no_document(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_json(text)
    with pytest.raises(InvalidInput):
        encode_json({"name": "\ud800"})
    with pytest.raises(InvalidInput):
        encode_cbor({"name": "\ud800"})
