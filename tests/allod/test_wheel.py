"""The wheel holds our packages, and inside `allod` the page, the migrations and the examples; no tests, no bench."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"allod", "core", "vault", "consent", "finetune"}


def test_the_wheel_holds_what_it_should_and_no_tests(tmp_path: Path) -> None:
    if not (ROOT / "allod" / "static" / "index.html").is_file():
        pytest.skip("The page is not built (`make web`).")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == PACKAGES | {"allod-0.1.0.dist-info"}
    assert not [name for name in names if "test" in Path(name).name or name.startswith("bench") or "/tests/" in name]
    for wanted in (
        "allod/static/index.html",
        "allod/migrations/env.py",
        "allod/migrations/versions/0001_first.py",
        "allod/examples/facts.json",
        "consent/contracts/artifacts/JobEscrow.json",
        "consent/contracts/gas.json",
        "allod-0.1.0.dist-info/licenses/LICENSE",
    ):
        assert wanted in names


def test_there_is_no_wheel_without_the_page(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("wheel_hook", ROOT / "deploy" / "wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hook = module.PageHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    hook.initialize("editable", {})
    with pytest.raises(RuntimeError, match="make web"):
        hook.initialize("standard", {})


def test_a_checkout_needs_no_address_of_an_index() -> None:
    for name in ("constraints.txt", "constraints-uv.txt", "pyproject.toml"):
        text = (ROOT / name).read_text("utf-8")
        assert "http" + "://" not in text
        assert "https" + "://" not in text
    lock = (ROOT / "web" / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert '"integrity": "sha512-' in lock
    assert "--hash=sha256:" in (ROOT / "constraints.txt").read_text("utf-8")
