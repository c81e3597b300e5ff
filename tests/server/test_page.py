"""The page's files, what a browser may do with them, and a sentence where they were not built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from allod.world import World
from tests.server.people import development_world

HTML = "<!doctype html><title>Allod</title>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: what is tested here changes none."""
    with development_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(HTML)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "app-1a2b.js").write_text("export {};\n" * 500)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def test_every_path_of_the_page_is_the_page(anonymous: TestClient, built: Path) -> None:
    for path in ("/", "/files", "/files/7", "/verify/0x12", "/index.html", "/v1x"):
        answer = anonymous.get(path, headers={"accept": "text/html"})
        assert (answer.status_code, answer.text) == (200, HTML), path
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"].startswith("text/html")


def test_a_file_named_by_its_hash_is_kept(anonymous: TestClient, built: Path) -> None:
    answer = anonymous.get("/assets/app-1a2b.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["content-encoding"] == "gzip"
    assert anonymous.get("/icon.svg").headers["cache-control"] == "no-cache"


def test_only_our_own_origin_may_do_anything_on_the_page(anonymous: TestClient, built: Path) -> None:
    policy = anonymous.get("/").headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["base-uri"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}
    assert "unsafe" not in policy


def test_the_api_is_never_the_page(anonymous: TestClient, built: Path) -> None:
    for path in ("/v1", "/v1/", "/v1/files", "/livez/x", "/readyz/", "/metrics"):
        answer = anonymous.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_file_that_is_not_there_is_not_the_page(anonymous: TestClient, built: Path) -> None:
    for path in ("/assets/gone-1a2b.js", "/robots.txt"):
        assert anonymous.get(path, headers={"accept": "*/*"}).status_code == 404
    assert anonymous.get("/files", headers={"accept": "application/json"}).status_code == 404
    assert anonymous.post("/files").status_code == 404


def test_nothing_beyond_the_folder_is_served(anonymous: TestClient, built: Path) -> None:
    for path in (
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/link.txt",
        "/%00",
        "//etc/passwd",
    ):
        answer = anonymous.get(path, headers={"accept": "application/json"})
        assert answer.status_code == 404, path
        assert "secret" not in answer.text.replace("secret.txt", "")


def test_where_it_is_not_built_one_sentence_says_so(anonymous: TestClient) -> None:
    answer = anonymous.get("/files")
    assert answer.status_code == 503
    assert "make web" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert anonymous.get("/v1/world").status_code == 200
