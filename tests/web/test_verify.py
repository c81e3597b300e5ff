"""Verifying without an account: what is pasted, what is dropped, and that a file stays in the browser."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.web import answers
from tests.web.stage import Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)
WEIGHTS = bytes(range(256)) * 5000
HASH = sha256(WEIGHTS).hexdigest()


@pytest.fixture
def stage(context: BrowserContext, static_url: str) -> Iterator[Stage]:
    """A browser that nobody used before."""
    made = Stage(context, static_url)
    yield made
    assert made.complaints == []


def bundle(cut: int | None = None) -> bytes:
    """A job's public bundle, as far as its adapter matters here."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("adapter/adapter_config.json", b"{}"), ("adapter/adapter_model.safetensors", WEIGHTS)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()[:cut]


def give(stage: Stage, name: str, data: bytes) -> None:
    file: Any = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    stage.page.get_by_label(re.compile("Or drop the bundle")).set_input_files([file])


@pytest.mark.parametrize(("name", "data"), [("adapter_model.safetensors", WEIGHTS), ("bundle.tar", bundle())])
def test_an_adapter_is_hashed_here_and_only_its_hash_is_asked_for(stage: Stage, name: str, data: bytes) -> None:
    sent: list[tuple[str, str]] = []
    stage.page.on("request", lambda request: sent.append((request.method, request.url)))
    stage.open("/verify")
    give(stage, name, data)
    expect(stage.page.get_by_role("heading", name="Verified: every sentence holds")).to_be_visible()
    assert any(url.endswith(f"/v1/verifications/0x{HASH}") for _, url in sent)
    assert {method for method, _ in sent} == {"GET"}


def test_a_bundle_that_ends_early_or_holds_no_adapter_says_so(stage: Stage) -> None:
    page = stage.open("/verify")
    give(stage, "bundle.tar", bundle(cut=200_000))
    expect(page.get_by_text("The bundle ends early.")).to_be_visible()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("README.md"))
    give(stage, "bundle.tar", out.getvalue())
    expect(page.get_by_text("The bundle holds no adapter_model.safetensors.")).to_be_visible()


def test_what_is_pasted_may_have_a_prefix_and_what_is_no_hash_is_said(stage: Stage) -> None:
    page = stage.open("/verify")
    field = page.get_by_label("Job id, or SHA-256 of an adapter")
    field.fill("not a hash")
    field.press("Enter")
    expect(page.get_by_text("64 hex digits")).to_be_visible()
    field.fill(f"  SHA256:{HASH.upper()} ")
    field.press("Enter")
    expect(page).to_have_url(re.compile(f"/verify/0x{HASH}$"))


def test_one_sentence_that_does_not_hold_is_named_and_the_verdict_is_no(stage: Stage) -> None:
    stage.answers["GET /v1/verifications/"] = lambda _: answers.verification(holds=False)
    page = stage.open(f"/verify/{answers.bytes32('job 1')}")
    expect(page.get_by_role("heading", name="Not verified: a sentence does not hold")).to_be_visible()
    expect(page.get_by_text("Does not hold:")).to_have_count(1)
    expect(page.get_by_text("The leaf of an owner was lowered.")).to_be_visible()
