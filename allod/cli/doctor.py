"""`allod doctor`: every part of this home, whether it works, and what to do where it does not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from allod.cli.shown import Screen, Shown, command, plain
from core.errors import Unavailable

app = typer.Typer()
MARKS = {"works": "[green]✓[/green]", "fails": "[red]✗[/red]", "absent": "[dim]–[/dim]"}


@command(app, "doctor")
def doctor(
    screen: Screen,
    deep: Annotated[bool, typer.Option("--deep", help="Read and verify every block, not a sample.")] = False,
) -> Shown:
    """Check every part and say what to do about it. Nothing is made, changed or repaired."""
    from allod.checkup import Finding, look_over

    found: list[Finding] = []
    with screen.progress("Looking") as bar:
        for finding in look_over(screen.settings, deep=deep):
            found.append(finding)
            bar(len(found), finding.part)
    lines: list[str] = []
    for one in found:
        lines.append(f"{MARKS[one.mark]} {one.part}: {plain(one.seen)}")
        lines += [f"    {plain(one.advice)}"] if one.advice else []
    checks = [
        {"part": one.part, "state": one.mark.value, "seen": one.seen, "next": one.advice, "needed": one.needed}
        for one in found
    ]
    data: dict[str, Any] = {"home": str(screen.settings.home), "checks": checks}
    broken = [one.part for one in found if one.is_failure]
    if broken:
        screen.say(*lines)
        raise Unavailable(f"Not working: {', '.join(broken)}.", hint="The lines marked ✗ say what to do.", **data)
    return Shown(data, lines)
