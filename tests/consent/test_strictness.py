"""Every document has one form: whatever bytes come, they are refused, or are exactly what their meaning encodes to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.committee import Committee
from consent.grant import Consent
from consent.order import Order
from consent.recipe import Recipe
from consent.terms import Terms
from consent.tree import SumTree
from core.encoding import decode_cbor, decode_json, encode_cbor, encode_json
from core.errors import InvalidInput

KINDS: dict[str, Any] = {
    "consent": Consent,
    "order": Order,
    "tree": SumTree,
    "terms": Terms,
    "recipe": Recipe,
    "committee": Committee,
}
IN_JSON = {"terms", "recipe", "committee"}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8) | st.just("0x" + "11" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
cbor_values = values | st.binary(max_size=33)


def refused_or_the_same(kind: str, data: bytes) -> None:
    try:
        found = KINDS[kind].decode(data)
    except InvalidInput:
        return
    assert found.encode() == data


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in items for path in paths(item, (*here, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {k: replaced(v, tuple(rest), new) if k == key else v for k, v in value.items()}
    return [replaced(v, tuple(rest), new) if i == key else v for i, v in enumerate(value)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_changed_bytes_are_refused_or_mean_something_else(sample, kind, data):
    good = bytearray(getattr(sample, kind).encode())
    place = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.integers(0, 3))
    good[place : place + length] = data.draw(st.binary(max_size=3))
    refused_or_the_same(kind, bytes(good))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_other_value_anywhere_is_refused_or_kept_exactly(sample, kind, data):
    good = getattr(sample, kind).encode()
    decode, encode = (decode_json, encode_json) if kind in IN_JSON else (decode_cbor, encode_cbor)
    document = decode(good)
    path = data.draw(st.sampled_from(paths(document)))
    new = data.draw(values if kind in IN_JSON else cbor_values)
    refused_or_the_same(kind, encode(replaced(document, path, new)))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=64))
def test_noise_is_refused(kind, data):
    with pytest.raises(InvalidInput):
        KINDS[kind].decode(data)
