"""One measured figure, and how a benchmark prints its own. Rows are {name, value, unit, goal, ok}."""

from __future__ import annotations

import json
from typing import Any

Figure = dict[str, Any]


def figure(name: str, value: float, unit: str, goal: str | None = None, ok: bool | None = None) -> Figure:
    """One measured figure; `ok` says whether it meets `goal`."""
    return {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "ok": ok}


def tell(bench: str, figures: list[Figure], *, as_json: bool) -> None:
    """Print them as one JSON document, or a line each."""
    if as_json:
        print(json.dumps({"bench": bench, "version": 1, "rows": figures}, ensure_ascii=False))
        return
    for one in figures:
        goal = "" if one["goal"] is None else f"   goal {one['goal']}  {'✓' if one['ok'] else '✗'}"
        print(f"{one['name']:<44}{one['value']:>10,.2f} {one['unit']}{goal}")
