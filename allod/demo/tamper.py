"""A forger for the demo: copies a bundle, raises one owner's amount and signs the statement anew with another key."""

from __future__ import annotations

import shutil
from pathlib import Path

from consent.chain.account import Account
from finetune.provenance import STATEMENT, read_statement, sign_statement


def tampered_copy(bundle: Path, target: Path, forger_key: bytes) -> Path:
    """A copy of `bundle` at `target` in which the first owner's amount is tenfold, re-signed by the forger."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target)
    _, document = read_statement((target / STATEMENT).read_bytes())
    first = document["predicate"]["owners"][0]
    first["amount"] = str(int(first["amount"]) * 10)
    (target / STATEMENT).write_bytes(sign_statement(document, Account(forger_key)))
    return target
