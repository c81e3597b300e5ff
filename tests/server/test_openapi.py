"""The committed OpenAPI document is the application's, and says what a client must know."""

from __future__ import annotations

from typing import Any

import pytest

from allod.server.openapi import FILE, bare_app, describe, encode

METHODS = {"get", "put", "post", "delete", "patch", "head"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(bare_app())


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_committed_document_is_the_applications(document: dict[str, Any]) -> None:
    assert FILE.read_text("utf-8") == encode(document), "write it anew with: python -m allod.server.openapi"


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(names)) == len(names)
    assert all(name.islower() and name.isascii() for name in names)


def test_every_operation_documents_its_errors_as_problems(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for operation in operations(document).values():
        for code in ("4XX", "5XX"):
            assert list(operation["responses"][code]["content"]) == ["application/problem+json"]
        assert operation["description"]


def test_whoever_must_sign_in_is_told_so(document: dict[str, Any]) -> None:
    found = operations(document)
    assert "security" not in found["GET /v1/world"]
    assert found["GET /v1/sessions/current"]["security"] == [{"session": []}]
    assert found["DELETE /v1/sessions/current"]["security"] == [{"session": [], "csrf": []}]


def test_every_text_that_is_sent_here_is_bounded(document: dict[str, Any]) -> None:
    """A request's text has a pattern, a list of values, or a greatest length; its lists have a greatest length."""
    schemas = document["components"]["schemas"]
    open_ended: list[str] = []

    def look(schema: dict[str, Any], at: str, seen: tuple[str, ...] = ()) -> None:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in seen:
                look(schemas[name], at, (*seen, name))
            return
        kind = schema.get("type")
        is_bounded = {"pattern", "maxLength", "enum", "const", "format"} & schema.keys()
        if kind == "string" and not is_bounded:
            open_ended.append(at)
        if kind == "array" and "maxItems" not in schema:
            open_ended.append(at)
        for part in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(part, []):
                look(one, at, seen)
        for name, one in schema.get("properties", {}).items():
            look(one, f"{at}.{name}", seen)
        if isinstance(schema.get("items"), dict):
            look(schema["items"], f"{at}[]", seen)

    for route, operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            look(parameter["schema"], f"{route} {parameter['name']}")
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            if kind.endswith("json"):
                look(body["schema"], route)
    assert not open_ended
