"""What the demo prints at its end: money, gas, losses, facts, and what this world is not."""

from __future__ import annotations

from typing import Any

from allod.cli.shown import table


def closing(figures: dict[str, Any]) -> list[Any]:
    """The figures as tables and sentences."""
    lines: list[Any] = ["", *_money(figures), *_losses(figures), *_facts(figures), *_gas(figures)]
    seconds = figures["seconds"]
    first = seconds["to the first step"]
    lines += [
        f"It took {seconds['all']:.0f} s; the first training step came {first} s after the job was started.",
        "",
        f"[bold]Where everything lies[/bold]  {figures['home']}",
        f"  adapter and provenance  {figures['bundle']}",
        f"  look around with        export ALLOD_HOME={figures['home']}",
        f"                          allod vault list --as NAME --passphrase-file {figures['home']}/passphrase",
        f"  remove it with          rm -r {figures['home']}",
        f"[bold]What this world is not[/bold]  {figures['notice']}",
    ]
    return lines


def _money(figures: dict[str, Any]) -> list[Any]:
    rows = [[row["who"], row["before"], row["after"], row["owed"], _gas_money(row)] for row in figures["balances"]]
    columns = ["", "tokens before", "tokens after", "from this job", "native money"]
    return [table("Balances", columns, rows, numbers=[1, 2, 3, 4])]


def _gas_money(row: dict[str, Any]) -> str:
    wei = int(row["native_wei"])
    return "0" if wei == 0 else f"{wei / 10**18:.3f}"


def _losses(figures: dict[str, Any]) -> list[Any]:
    what = "Held-out loss" if figures["losses_are_heldout"] else "Loss on their own records (these were trained on)"
    rows = [[who, f"{pair['before']:.3f}", f"{pair['after']:.3f}"] for who, pair in figures["losses"].items()]
    return [table(what + ", nats per token", ["records of", "before", "after"], rows, numbers=[1, 2])] if rows else []


def _facts(figures: dict[str, Any]) -> list[Any]:
    rows = figures["facts"]
    if not rows:
        return []
    owners: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        owners.setdefault(row["owner"], []).append(row)
    counts = [
        [who, len(found), sum(row["base_knows"] for row in found), sum(row["tuned_knows"] for row in found)]
        for who, found in owners.items()
    ]
    shown = [row for row in rows if row["tuned_knows"]][:3] + [row for row in rows if not row["tuned_knows"]][:1]
    examples = [[row["owner"], row["prompt"], row["base"][:40], row["tuned"][:40]] for row in shown]
    columns = ["facts of", "asked", "base knows", "tuned knows"]
    return [
        table("Facts from the owners' files", columns, counts, numbers=[1, 2, 3]),
        table("For example", ["of", "prompt", "base says", "tuned says"], examples),
    ]


def _gas(figures: dict[str, Any]) -> list[Any]:
    rows = [[row["what"], f"{row['gas']:,}"] for row in figures["gas"]]
    return [table("Gas of each transaction", ["", "gas"], rows, numbers=[1])]
