"""Whatever the document allows, and much that it does not, is answered as the document says, and never with a 5xx.

schemathesis makes the requests from the application's document, for somebody who is signed in, over every router.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from allod.server.app import create_app
from allod.server.openapi import bare_app, describe
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, browser, development_world

EXAMPLES = 10  # of each operation and mode: what two of the slowest seconds allow
ENDS_THE_SESSION = {"end_session"}
schemathesis.serializer.alias("application/vnd.ipld.car", "application/octet-stream")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def cases() -> list[Any]:
    """Each operation with requests of its form, and with others where there is a form to break."""
    found = []
    for one in operations():
        raw = one.definition.raw
        forms = raw.get("requestBody", {}).get("content", {})
        has_form = raw.get("parameters") or any(kind.endswith("json") for kind in forms)
        modes = list(GenerationMode) if has_form else [GenerationMode.POSITIVE]
        found += [pytest.param(one, mode, id=f"{one.label}-{mode.value}") for mode in modes]
    return found


def operations() -> list[APIOperation[Any, Any, Any, Any]]:
    document = describe(bare_app())
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security", None)  # somebody is signed in, whose cookie and token are not to be replaced
    schema = schemathesis.openapi.from_dict(document)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with development_world(tmp_path_factory.mktemp("schemathesis")) as world:
        app = create_app(world, origins=(ORIGIN,), bounds=TEST_BOUNDS)
        with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
            Person("ada", account_of("ada"), client).sign_in()
            yield client
        app.state.place.close()


@pytest.mark.parametrize(("operation", "mode"), cases())
def test_every_operation_keeps_to_its_document(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, http: TestClient
) -> None:
    if operation.definition.raw["operationId"] in ENDS_THE_SESSION:
        http = browser(http)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        arguments = case.as_transport_kwargs(base_url=ORIGIN)
        arguments.pop("cookies", None)
        if isinstance(data := arguments.pop("data", None), str | bytes):
            arguments["content"] = data
        elif data is not None:
            arguments["data"] = data
        response = http.request(**arguments)
        case.validate_response(response, checks=CHECKS)

    ask()
