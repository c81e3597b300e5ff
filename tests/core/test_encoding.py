"""One value, one encoding: the decoders refuse everything that a signature could be stretched over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.encoding import (
    Link,
    decode_cbor,
    decode_json,
    decode_uvarint,
    encode_cbor,
    encode_json,
    encode_uvarint,
    from_hex,
    to_hex,
)
from core.errors import InvalidInput

links = st.binary(min_size=32, max_size=32).map(lambda digest: Link(b"\x01\x71\x12\x20" + digest))
scalars = (
    st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans() | st.none() | links
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_dag_cbor_round_trips(value: object) -> None:
    assert decode_cbor(encode_cbor(value)) == value


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("an integer longer than needed", b"\x18\x01"),
        ("map keys out of order", b"\xa2\x61b\x01\x61a\x01"),
        ("a longer key before a shorter one", b"\xa2\x62aa\x01\x61b\x01"),
        ("the same key twice", b"\xa2\x61a\x01\x61a\x02"),
        ("a key that is not text", b"\xa1\x01\x01"),
        ("a half float", b"\xf9\x3c\x00"),
        ("a double", b"\xfb" + bytes(8)),
        ("an indefinite map", b"\xbf\xff"),
        ("an indefinite list", b"\x9f\xff"),
        ("undefined", b"\xf7"),
        ("another tag", b"\xc1\x00"),
        ("a link without its zero byte", b"\xd8\x2a\x41\x01"),
        ("bytes behind the value", b"\x01\x01"),
        ("a cut value", b"\x82\x01"),
        ("nothing", b""),
        ("text that is not UTF-8", b"\x61\xff"),
        ("nesting without end", b"\x81" * 5000 + b"\x01"),
    ],
)
def test_anything_but_the_one_dag_cbor_form_is_refused(case: str, data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_cbor(data)


def test_a_block_beyond_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidInput, match="at most 3"):
        decode_cbor(b"\x43abc", limit=3)


@pytest.mark.parametrize("value", [1.5, object(), {1: 2}, 2**64, {"a": {2: 3}}])
def test_values_without_a_dag_cbor_form_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        encode_cbor(value)


@pytest.mark.parametrize(
    "data",
    [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":1.5}', b'{"a":1e3}', b"[NaN]", b"\xff", b"", b"[" * 9000],
)
def test_anything_but_canonical_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_json(data)


def test_canonical_json_sorts_keys_and_keeps_unicode() -> None:
    assert encode_json({"b": [True, None], "a": "é"}) == '{"a":"é","b":[true,null]}'.encode()
    with pytest.raises(InvalidInput):
        encode_json({"a": 2**53})


@given(st.integers(0, 2**62))
def test_varints_round_trip(number: int) -> None:
    data = encode_uvarint(number)
    assert decode_uvarint(b"x" + data + b"y", 1) == (number, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 10])
def test_a_varint_that_is_cut_or_padded_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_uvarint(data)


def test_hex_at_the_edges_is_exact() -> None:
    assert from_hex(to_hex(b"\x00\xff"), 2) == b"\x00\xff"
    for wrong in ("00", "0x0", "0xzz", "0x 00", 5):
        with pytest.raises(InvalidInput):
            from_hex(wrong)
    with pytest.raises(InvalidInput, match="3 bytes"):
        from_hex("0x00", 3)
