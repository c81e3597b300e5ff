"""Verifying without an account: what is pasted, what is dropped, and that a file stays in the browser."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.web import answers
from tests.web.stage import Stage

pytestmark = pytest.mark.needs_browser
expect.set_options(timeout=60_000)
WEIGHTS = bytes(range(256)) * 5000
NAME = "adapter_model.safetensors"
JOB = answers.bytes32("job 1")
HASH = sha256(WEIGHTS).hexdigest()


@pytest.fixture
def stage(context: BrowserContext, static_url: str) -> Iterator[Stage]:
    """A browser that nobody used before."""
    made = Stage(context, static_url)
    yield made
    assert made.complaints == []


def archive(*files: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT, **pax: str) -> bytes:
    """A tar of these files; `pax` is said of each of them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(data), pax
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def bundle() -> bytes:
    """A job's public bundle, as far as its adapter matters here."""
    return archive(("adapter/adapter_config.json", b"{}"), (f"adapter/{NAME}", WEIGHTS))


def give(stage: Stage, name: str, data: bytes) -> None:
    file: Any = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    stage.page.get_by_label(re.compile("Or drop the bundle")).set_input_files([file])


LONG = "adapter/" + "long/" * 30  # beyond what a header holds


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (NAME, WEIGHTS),
        ("bundle.tar", bundle()),
        ("gnu.tar", archive((f"{LONG}{NAME}", WEIGHTS), (f"{LONG}more", b""), form=tarfile.GNU_FORMAT)),
        ("pax.tar", archive((f"{LONG}{NAME}", WEIGHTS), (f"{LONG}more", b""), form=tarfile.PAX_FORMAT, mtime="1.5")),
    ],
)
def test_an_adapter_is_hashed_here_and_only_its_hash_is_asked_for(stage: Stage, name: str, data: bytes) -> None:
    sent: list[tuple[str, str]] = []
    stage.page.on("request", lambda request: sent.append((request.method, request.url)))
    stage.open("/verify")
    give(stage, name, data)
    expect(stage.page.get_by_role("heading", name="Verified: every sentence holds")).to_be_visible()
    expect(stage.page.get_by_text(f"SHA-256 of {NAME}, computed here")).to_be_visible()
    assert any(url.endswith(f"/v1/verifications/0x{HASH}") for _, url in sent)
    assert {method for method, _ in sent} == {"GET"}


def spoilt(at: int, byte: int) -> bytes:
    """A bundle with another byte in it."""
    data = bytearray(bundle())
    data[at] = byte
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bundle()[:200_000], "The bundle ends early."),
        (bundle()[: 3 * 512 + len(WEIGHTS)], "The bundle ends early."),  # nothing is missing but the end
        (archive(("README.md", b"")), f"The bundle holds no {NAME}."),
        (
            archive((f"adapter/{NAME}", WEIGHTS), (f"later/{NAME}", b"evil")),
            f"The bundle holds two files named {NAME}.",
        ),
        (archive((NAME, WEIGHTS), (f"{LONG}{NAME}", b"evil"), form=tarfile.PAX_FORMAT), f"two files named {NAME}."),
        (archive((NAME, WEIGHTS), (f"{LONG}{NAME}", b"evil"), form=tarfile.GNU_FORMAT), f"two files named {NAME}."),
        (bundle() + archive((NAME, b"evil")), "The bundle holds something after its end."),
        (archive((NAME, WEIGHTS), form=tarfile.PAX_FORMAT, size="4"), "The bundle holds a file of 8 GiB or more."),
        (archive((NAME, WEIGHTS), form=tarfile.PAX_FORMAT, **{"GNU.sparse.name": "a"}), "programs read differently."),
        (spoilt(600, 5), None),  # in the first file: not looked at
        (spoilt(156, ord("2")), "The bundle holds a header that is damaged."),
    ],
    ids=range(11),
)
def test_a_bundle_that_may_unpack_to_something_else_is_refused(stage: Stage, data: bytes, said: str | None) -> None:
    page = stage.open(f"/verify/{JOB}")
    expect(page.get_by_role("heading", name="Verified: every sentence holds")).to_be_visible()
    give(stage, "bundle.tar", data)
    if said is None:
        expect(page.get_by_text("computed here")).to_be_visible()
    else:
        expect(page.get_by_text(said)).to_be_visible()
        expect(page.get_by_role("heading", name="Verified: every sentence holds")).to_have_count(0)


def test_what_is_pasted_may_have_a_prefix_and_what_is_no_hash_is_said(stage: Stage) -> None:
    page = stage.open("/verify")
    field = page.get_by_label("Job id, or SHA-256 of an adapter")
    field.fill("not a hash")
    field.press("Enter")
    expect(page.get_by_text("64 hex digits")).to_be_visible()
    field.fill(f"  SHA256:{HASH.upper()} ")
    field.press("Enter")
    expect(page).to_have_url(re.compile(f"/verify/0x{HASH}$"))
    stage.open("/verify/not-a-hash")
    expect(page.get_by_text("64 hex digits")).to_be_visible()


def lying(stage: Stage, report: dict[str, Any]) -> Page:
    """The page, on which the server answers with this report, whatever was asked."""
    stage.answers["GET /v1/verifications/"] = lambda _: report
    return stage.page


@pytest.mark.parametrize("kind", ["another job", "an adapter as if it were a job"])
def test_a_good_report_about_something_else_verifies_no_adapter(stage: Stage, kind: str) -> None:
    report = answers.verification()
    if kind != "another job":
        report["job_id"] = f"0x{HASH}"
    page = lying(stage, report)
    stage.open("/verify")
    give(stage, NAME, WEIGHTS)
    expect(page.get_by_text("The server answered about something else than was asked.")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("erified"))).to_have_count(0)


def test_a_good_report_about_something_else_verifies_no_job(stage: Stage) -> None:
    page = lying(stage, answers.verification())
    stage.open(f"/verify/{answers.bytes32('another job')}")
    expect(page.get_by_text("The server answered about something else than was asked.")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("erified"))).to_have_count(0)


def test_the_verdict_is_that_of_the_sentences_whatever_the_server_says(stage: Stage) -> None:
    report = answers.verification(broken="terms")
    page = lying(stage, report | {"verified": True, "vouched": True})
    stage.open(f"/verify/{JOB}")
    expect(page.get_by_role("heading", name="Not verified: a sentence does not hold")).to_be_visible()
    expect(page.get_by_text("Does not hold:")).to_have_count(1)
    expect(page.get_by_text("The leaf of an owner was lowered.")).to_be_visible()
    expect(page.get_by_text("Rely on nothing of this job")).to_be_visible()
    lying(stage, answers.verification() | {"sentences": []})
    stage.open(f"/verify/{JOB}")
    expect(page.get_by_role("heading", name="Not verified: the server checked nothing")).to_be_visible()


@pytest.mark.parametrize("claims", [{}, {"vouched": True}], ids=["honest", "lying"])
def test_without_a_statement_that_vouches_the_adapter_is_unvouched(stage: Stage, claims: dict[str, Any]) -> None:
    page = lying(stage, answers.verification(vouched=False) | claims)
    stage.open(f"/verify/{JOB}")
    expect(page.get_by_role("heading", name="Verified, but the adapter is unvouched")).to_be_visible()
    expect(page.get_by_text("nobody vouches for any adapter of this job")).to_be_visible()
    expect(page.get_by_text("this runner vouches for this adapter")).to_have_count(0)


def test_who_checked_against_what_is_said_and_money_is_written_for_people(stage: Stage) -> None:
    page = stage.open(f"/verify/{JOB}")
    report = answers.verification()
    expect(page.get_by_text(re.compile("Checked by this server, .* at block 140: 6 sentences"))).to_be_visible()
    expect(page.get_by_label("The trust file", exact=True)).to_have_text(report["trust"])
    symbol = answers.WORLD["currency"]["symbol"]
    expect(page.get_by_text(f"68.00 {symbol} for the owners")).to_be_visible()
    page.get_by_text("Evidence, and how to check it").first.click()
    evidence = page.get_by_label("Raw evidence").first
    expect(evidence).to_contain_text(f'"amount": "68000000000" = 68.00 {symbol}')
    expect(evidence).to_contain_text('"records": 12,')


def test_an_amount_beyond_what_a_chain_can_pay_stays_as_it_came(stage: Stage) -> None:
    report = answers.verification()
    report["sentences"][0]["evidence"] |= {"amount": "9" * 20, "fee": "1000000000"}
    report["sentences"][0]["finding"] = f"It paid {'9' * 20} UNITs."
    page = lying(stage, report)
    stage.open(f"/verify/{JOB}")
    expect(page.get_by_text(f"It paid {'9' * 20} UNITs.")).to_be_visible()
    page.get_by_text("Evidence, and how to check it").first.click()
    evidence = page.get_by_label("Raw evidence").first
    expect(evidence).to_contain_text(f'"amount": "{"9" * 20}"')
    expect(evidence).not_to_contain_text(f'"{"9" * 20}" =')
    expect(evidence).to_contain_text(f'"fee": "1000000000" = 1.00 {answers.WORLD["currency"]["symbol"]}')
