"""`python -m consent.contracts.build [--check]`: compile the sources, and write or compare the artifacts.

Promises: the same sources and the pinned compiler give the same bytes on every machine; `--check` writes nothing and
exits with 1 where a committed artifact differs. Needs the compiler, which only the `dev` extra installs.
"""

from __future__ import annotations

import argparse
import json
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from consent.contracts.artifact import NAMES
from core.encoding import to_hex
from core.errors import Unavailable
from core.files import write_atomic

FOLDER = Path(__file__).parent
COMPILER = "0.4.3"
EVM = "cancun"  # the same bytes as for prague, and they run on either
OPTIMIZE = "gas"
_OUTPUTS = ["abi", "bytecode", "bytecode_runtime", "method_identifiers", "layout", "integrity"]


def compile_source(path: Path) -> dict[str, Any]:
    """The compiler's outputs for one Vyper file; sources beside it are found for its imports."""
    try:
        vyper: Any = import_module("vyper")  # it carries no types
        bundles: Any = import_module("vyper.compiler.input_bundle")
        settings: Any = import_module("vyper.compiler.settings")
    except ImportError:
        raise Unavailable("The Vyper compiler is not installed.", hint="Install the extra allod[dev].") from None
    if vyper.__version__.split("+")[0] != COMPILER:
        raise Unavailable(f"The contracts need Vyper {COMPILER}, not {vyper.__version__}.", hint="Install allod[dev].")
    bundle = bundles.FilesystemInputBundle([path.parent])
    chosen = settings.Settings(evm_version=EVM, optimize=settings.OptimizationLevel.from_string(OPTIMIZE))
    outputs: dict[str, Any] = vyper.compiler.compile_from_file_input(
        bundle.load_file(path.name), input_bundle=bundle, output_formats=_OUTPUTS, settings=chosen
    )
    return outputs


def build(name: str) -> bytes:
    """The artifact of one contract, as the bytes of its JSON file."""
    outputs = compile_source(FOLDER / f"{name}.vy")
    runtime = bytes.fromhex(outputs["bytecode_runtime"][2:])
    layout = outputs["layout"]
    fields = {
        "name": name,
        "compiler": f"vyper {COMPILER}",
        "evm": EVM,
        "optimize": OPTIMIZE,
        "integrity": outputs["integrity"],
        "runtime_sha256": to_hex(sha256(runtime).digest()),
        "immutables": sum(_lengths(layout.get("code_layout", {}))),
        "method_ids": dict(sorted(outputs["method_identifiers"].items())),
        "storage": layout.get("storage_layout", {}),
        "abi": outputs["abi"],
        "bytecode": outputs["bytecode"],
        "runtime": outputs["bytecode_runtime"],
    }
    return json.dumps(fields, indent=1, ensure_ascii=True).encode() + b"\n"


def _lengths(layout: dict[str, Any]) -> list[int]:
    """The bytes of every immutable, those of imported modules included."""
    lengths: list[int] = []
    for entry in layout.values():
        lengths += [entry["length"]] if isinstance(entry.get("length"), int) else _lengths(entry)
    return lengths


def main(arguments: list[str] | None = None) -> int:
    """Write the artifacts, or with `--check` compare them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m consent.contracts.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    check: bool = parser.parse_args(arguments).check
    differing = []
    for name in NAMES:
        path, data = FOLDER / "artifacts" / f"{name}.json", build(name)
        if check and (not path.exists() or path.read_bytes() != data):
            differing.append(name)
        elif not check:
            write_atomic(path, data, mode=0o644)
    if differing:
        sys.stderr.write(f"The sources no longer give these artifacts: {', '.join(differing)}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
