"""The contracts' artifacts: what a client needs to deploy and to talk to them, without a compiler.

`load(name)` reads one committed JSON file beside this one; `python -m consent.contracts.build --check` proves that the
sources still give exactly these bytes.
"""

from __future__ import annotations

from consent.contracts.artifact import NAMES, Artifact, load

__all__ = ["NAMES", "Artifact", "load"]
