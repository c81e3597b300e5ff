"""The tree of commands. Each group's module is imported only when one of its commands runs."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import typer

from allod import __version__
from allod.cli.shown import INTERRUPTED, STOPPED, fail

GROUPS = {
    "vault": ("allod.cli.vault", "Seal files, list them, see what a job would see, restore."),
    "dataset": ("allod.cli.dataset", "Publish objects as a licensable dataset; show one."),
    "consent": ("allod.cli.consent", "Offer, grant, take, list and revoke consents."),
    "job": ("allod.cli.job", "Quote, run, start, watch, cancel, settle, try and verify fine-tunes."),
    "keeper": ("allod.cli.keeper", "Keep shares of keys for others, as a service; audit a keeper's log."),
    "chain": ("allod.cli.chain", "Serve the embedded chain; deploy and verify contracts on any."),
}
SINGLE = {
    "whoami": ("allod.cli.money", "Who acts, and with which address."),
    "balance": ("allod.cli.money", "Tokens in the wallet and in the escrow."),
    "faucet": ("allod.cli.money", "Play money, on development chains."),
    "deposit": ("allod.cli.money", "Put tokens into the escrow, from which jobs are paid."),
    "withdraw": ("allod.cli.money", "Take tokens that no job holds out of the escrow."),
    "earnings": ("allod.cli.money", "What each job owes or paid an owner."),
    "claim": ("allod.cli.money", "Have everything claimable paid out."),
    "serve": ("allod.cli.serve", "Serve the API and the owner's page."),
    "worker": ("allod.cli.worker", "Run the jobs that were started, until told to stop."),
    "up": ("allod.cli.up", "Everything of this home at once, with the owner's page."),
    "demo": ("allod.cli.demo", "The whole loop once, in a world of its own."),
    "doctor": ("allod.cli.doctor", "Check every part and say what to do about it."),
}


def build(words: list[str]) -> typer.Typer:
    """The command tree for one call: the overview names everything, and only what is called is imported."""
    called = next((word for word in words if not word.startswith("-")), None)
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich" if called else None,  # the overview is quick because it is plain
        pretty_exceptions_enable=False,
    )
    app.callback()(allod)
    for name, (module, summary) in {**GROUPS, **SINGLE}.items():
        if name != called:
            app.command(name, help=summary)(_elsewhere)
            continue
        loaded: typer.Typer = import_module(module).app
        if name in GROUPS:
            app.add_typer(loaded, name=name, help=summary)
        else:
            app.registered_commands += [one for one in loaded.registered_commands if one.name == name]
    return app


def _elsewhere() -> None:
    """Stands for a command that this call does not use."""


def _version(asked: bool) -> None:
    if asked:
        print(f"allod {__version__}")
        raise typer.Exit


def allod(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Seal your data, consent on chain, be paid for every fine-tune that uses it."""


def main() -> None:
    """Entry point of the `allod` script; a wrong call speaks JSON too where `--json` is among its words."""
    os.umask(0o077)  # what a home holds is its owner's alone, its database and folders too
    words = sys.argv[1:] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a file's name may hold bytes that are no text
    path, as_json = " ".join(words[:1]), "--json" in words
    try:
        code = build(words)(words, standalone_mode=False)
    except typer.TyperException as error:
        if not as_json and not error.format_message():
            sys.exit(error.exit_code)  # a group without a command: its help was printed
        hint = (
            f"`allod {path} --help` shows how it is called." if path in {**GROUPS, **SINGLE} else "See `allod --help`."
        )
        document = {"type": "usage", "status": 400, "title": error.format_message(), "next": hint}
        code = fail(document, error.exit_code, path=path, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        code = fail(STOPPED, INTERRUPTED, path=path, as_json=as_json)
    sys.exit(code if isinstance(code, int) else 0)
