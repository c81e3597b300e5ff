"""A recipe is integers in one form."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from consent.recipe import Lora, Recipe, recipe_hash
from core.encoding import encode_json
from core.errors import InvalidInput


def test_a_recipe_survives_its_encoding_and_its_hash_is_sha256(sample):
    data = sample.recipe.encode()
    assert Recipe.decode(data) == sample.recipe
    assert recipe_hash(data) == sample.recipe.hash == sha256(data).digest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("v",), 2), (("type",), "allod/terms"), (("method",), "full"), (("epochs",), 0), (("epochs",), 1001),
        (("seed",), -1), (("purpose",), "0x"), (("purpose",), None), (("learning_rate_nano",), 0),
        (("warmup_steps",), -1), (("batch_rows",), 0), (("sequence",), 4), (("extra",), 1), (("lora", "r"), 0),
        (("lora", "alpha"), "32"), (("lora", "dropout_ppm"), 10**6), (("lora", "targets"), []),
        (("lora", "targets"), ["q", "k"]), (("lora", "targets"), ["k", "k"]), (("lora", "targets"), [["k"]]),
        (("lora", "extra"), 1), (("base_model",), "demo"), (("base_model", "hash"), "0x" + "AA" * 32),
        (("base_model", "name"), ""),
    ],
)  # fmt: skip
def test_a_recipe_with_one_wrong_field_is_refused(sample, path, value):
    document = json.loads(sample.recipe.encode())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInput):
        Recipe.decode(encode_json(document))


@pytest.mark.parametrize("field", ["v", "lora", "seed", "purpose"])
def test_a_recipe_that_lacks_a_field_is_refused(sample, field):
    document = json.loads(sample.recipe.encode())
    del document[field]
    with pytest.raises(InvalidInput):
        Recipe.decode(encode_json(document))


def test_a_recipe_holds_no_fractions_and_no_other_form(sample):
    data = sample.recipe.encode()
    for wrong in (data.replace(b'"epochs":3', b'"epochs":3.0'), b" " + data, data.replace(b'"seed":7', b'"seed":07')):
        with pytest.raises(InvalidInput):
            Recipe.decode(wrong)


def test_settings_out_of_range_do_not_exist(sample):
    with pytest.raises(InvalidInput):
        Lora(16, 32, 0, ("v_proj", "q_proj"))
    with pytest.raises(InvalidInput):
        replace(sample.recipe, seed=2**53)
