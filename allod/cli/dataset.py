"""`allod dataset publish | list | show`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, world_of
from allod.cli.money import money
from allod.cli.shown import Screen, Shown, command, plain, table
from allod.cli.vault import opened, pick
from core.encoding import to_hex
from core.errors import InvalidInput

if TYPE_CHECKING:
    from allod.world import World
    from consent.terms import Terms
    from vault.catalogue import DatasetRow

app = typer.Typer(name="dataset", no_args_is_help=True)
DAY = 86400
MAX_SAMPLE = 4096


@app.callback()
def dataset() -> None:
    """Datasets: objects put up together, under one licence."""


def describe_terms(world: World, terms: Terms) -> dict[str, Any]:
    """Terms as JSON for people."""
    models = terms.base_models
    return {
        "purposes": list(terms.purposes),
        "base_models": "any" if models is None else [to_hex(model) for model in models],
        "max_epochs": terms.max_epochs,
        "max_uses": terms.max_uses or "unlimited",
        "flat": money(world, terms.flat),
        "per_record_epoch": money(world, terms.per_record_epoch),
        "payee": to_hex(terms.payee),
        "expiry": terms.expiry,
        "hash": to_hex(terms.hash),
    }


def describe(world: World, row: DatasetRow) -> dict[str, Any]:
    """A dataset as a list shows it."""
    return {
        "asset": to_hex(row.asset),
        "title": row.title,
        "owner": to_hex(row.owner),
        "objects": row.objects,
        "records": row.records,
        "published": row.published.isoformat(),
    }


@command(app, "publish")
def publish(
    screen: Screen,
    names: Annotated[list[str], typer.Argument(metavar="OBJECT…", help="Numbers, names or ids; or `all`.")],
    title: Annotated[str, typer.Option(help="Public.")],
    description: Annotated[str, typer.Option(help="Public.")] = "",
    purpose: Annotated[list[str] | None, typer.Option(help="A purpose that you allow; give it again for more.")] = None,
    flat: Annotated[str, typer.Option(help="Price for a job, due at the first release.")] = "0",
    per_record_epoch: Annotated[str, typer.Option(help="Price for each record and epoch.")] = "0",
    max_epochs: Annotated[int, typer.Option(min=1)] = 10,
    max_uses: Annotated[int, typer.Option(min=0, max=65535, help="Jobs per consent; 0 is unlimited.")] = 0,
    base_model: Annotated[list[str] | None, typer.Option(help="0x hash of a base model that may be tuned.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long the terms hold.")] = 365,
    payee: Annotated[str | None, typer.Option(help="0x address that is paid; by default your account.")] = None,
    sample: Annotated[Path | None, typer.Option(help="A file with a made-up sample, which becomes public.")] = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Put objects up as a dataset: keys are shared among the keepers, the asset goes on chain. You need no gas."""
    from allod.owner import publish_dataset
    from consent.addresses import read_address
    from consent.money import parse_units
    from consent.terms import Terms

    with opened(screen, passphrase_file) as (world, owner, found):
        entries = found.entries()
        chosen = entries if names == ["all"] else [pick(entries, name) for name in names]
        if not chosen:
            raise InvalidInput("The vault is empty.", hint="Seal something first: `allod vault add PATH`.")
        decimals = world.market.decimals
        terms = Terms.write(
            purposes=purpose or ["academic-research"],
            payee=owner.identity.address if payee is None else read_address(payee),
            committee=world.committee.hash,
            expiry=int(time.time()) + days * DAY,
            base_models=[_model_hash(model) for model in base_model] if base_model else None,
            max_epochs=max_epochs,
            max_uses=max_uses,
            flat=parse_units(flat, decimals),
            per_record_epoch=parse_units(per_record_epoch, decimals),
        )
        card: dict[str, Any] = {
            "title": title,
            "description": description,
            "schema": sorted({entry.media_type for entry in chosen}),
            "sample": "" if sample is None else _sample(sample),
        }
        done = publish_dataset(world, owner, found, [entry.object_id for entry in chosen], card, terms)
        header = done.publication.header
        is_listed_so = world.catalogue.get(done.asset).terms == terms.hash
        data = {
            "asset": to_hex(done.asset),
            "title": title,
            "objects": header.objects,
            "records": header.records,
            "terms": describe_terms(world, terms),
            "transaction": to_hex(done.sent.tx_hash),
            "gas": done.sent.gas,
        }
    lines = [
        f"Published [bold]{plain(title)}[/bold]: asset {data['asset']}",
        f"{header.objects} objects, {header.records} records. Each key is shared among {world.committee.n} keepers;",
        f"any {world.committee.t} of them can release it to a consented job.",
        "Nobody may use it yet: `allod consent offer` or `allod consent grant` come next.",
    ]
    if not is_listed_so:
        lines[-1] = "It was listed before, under other terms: `allod consent` goes by those. A new title lists it anew."
    return Shown(data, lines)


def _model_hash(text: str) -> bytes:
    from core.encoding import from_hex

    try:
        return from_hex(text.lower(), 32)
    except InvalidInput:
        raise InvalidInput(
            f"'{text[:80]}' is not the hash of a base model.",
            hint="It is 0x and 64 hex digits; without --base-model any model may be tuned.",
        ) from None


def _sample(path: Path) -> str:
    """The file's text; it becomes public as it is, so nothing of it is left out silently."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SAMPLE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The sample cannot be read: {type(error).__name__}.", hint=f"Check {path}; it is a text file in UTF-8."
        ) from None
    if len(text) > MAX_SAMPLE:
        raise InvalidInput(f"The sample is longer than {MAX_SAMPLE} characters.", hint="Choose a shorter one.")
    return text


@command(app, "list")
def list_(screen: Screen) -> Shown:
    """All datasets known here."""
    with world_of(screen) as world:
        known = enumerate(world.catalogue.all(), start=1)
        items = [{"number": number} | describe(world, row) for number, row in known]
    rows = [[one["number"], one["asset"][:18] + "…", one["title"], one["records"], one["owner"]] for one in items]
    columns = ["#", "asset", "title", "records", "owner"]
    return Shown({"datasets": items}, [table("Datasets", columns, rows, numbers=[0, 3])])


@command(app, "show")
def show(screen: Screen, asset: Annotated[str, typer.Argument(metavar="ASSET")]) -> Shown:
    """A dataset's public side: card, counts, terms."""
    from allod.listing import publication_of
    from core.ids import Asset
    from vault.datasets import read_card

    with world_of(screen) as world:
        row = world.catalogue.find(asset)
        found = publication_of(world, Asset(row.asset))
        card = read_card(world.blocks, found.header).card
        data = describe(world, row) | {"card": card, "terms": describe_terms(world, found.terms)}
    lines = [f"[bold]{plain(row.title)}[/bold]  {data['asset']}", f"owner {data['owner']}"]
    lines += [f"{row.objects} objects, {row.records} records", plain(card.get("description", ""))]
    lines += [f"  {key}: {value}" for key, value in data["terms"].items()]
    return Shown(data, lines)
