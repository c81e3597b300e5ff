"""Whatever the document allows, and much that it does not, is answered as the document says, and never with a 5xx.

schemathesis makes the requests from the committed document, for somebody who is signed in. It runs over every router.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from starlette.testclient import TestClient

from allod.server.app import create_app
from allod.server.openapi import bare_app, describe
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, development_world

EXAMPLES = 12  # of each operation; more of them, overnight, find no more that a change did not bring
