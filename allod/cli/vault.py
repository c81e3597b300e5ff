"""`allod vault init | add | list | show | get | preview | rm | restore`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, unlock, world_of
from allod.cli.shown import Screen, Shown, command, plain, table
from core.encoding import to_hex
from core.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from allod.identities import Unlocked
    from allod.world import World
    from vault.cid import Cid
    from vault.entry import Entry
    from vault.vault import Vault

app = typer.Typer(name="vault", no_args_is_help=True)

ObjectName = Annotated[str, typer.Argument(metavar="OBJECT", help="Its number or name in the list, or its 0x id.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")]


@app.callback()
def vault() -> None:
    """Seal files on this device; see, open and restore what is sealed."""


@contextmanager
def opened(screen: Screen, passphrase_file: Path | None) -> Iterator[tuple[World, Unlocked, Vault]]:
    """The home, who acts, and their vault."""
    from allod.owner import opened_vault

    with world_of(screen) as world:
        owner = unlock(screen, world, passphrase_file)
        with opened_vault(world, owner) as found:
            yield world, owner, found


def pick(entries: list[Entry], name: str) -> Entry:
    """The one entry that `name` means: its number in the list, its name, or the start of its id."""
    if name.isdecimal() and 1 <= int(name) <= len(entries):
        return entries[int(name) - 1]
    found = [entry for entry in entries if entry.name == name]
    if not found and name.startswith("0x") and len(name) >= 8:
        found = [entry for entry in entries if to_hex(entry.object_id).startswith(name.lower())]
    if len(found) != 1:
        what = "No object" if not found else f"{len(found)} objects"
        raise NotFound(f"{what} of this vault can be called {name}.", hint="`allod vault list` numbers them.")
    return found[0]


def describe(number: int, entry: Entry) -> dict[str, Any]:
    """An entry as JSON."""
    return {
        "number": number,
        "object": to_hex(entry.object_id),
        "name": entry.name,
        "type": entry.media_type,
        "size": entry.size,
        "records": entry.records,
        "unreadable_places": entry.broken,
        "added": entry.added.isoformat(),
        "payload": str(entry.payload),
        "published": [to_hex(digest) for digest in entry.datasets],
    }


@command(app, "init")
def init(
    screen: Screen,
    address: Annotated[
        str | None,
        typer.Option(help="Your wallet's 0x address, if you bring one; else the account is made below the root key."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Make a vault: a root key, its 24 words (shown once), a passphrase that unlocks it, and an account."""
    from allod.passphrases import read_passphrase
    from consent.addresses import read_address
    from vault.rootkey import RootKey

    wallet = None if address is None else read_address(address)
    with world_of(screen) as world:
        name = screen.settings.actor or "me"
        world.identities.require_free(name)
        file = passphrase_file or screen.settings.passphrase_file
        passphrase = read_passphrase(file, prompt=f"New passphrase of {name}", confirm=True)
        root = RootKey.generate()
        identity = world.identities.create(name, root, passphrase, address=wallet)
        words = root.words().split()
        data = {
            "name": name,
            "address": to_hex(identity.address),
            "vault": to_hex(identity.vault_id),
            "words": " ".join(words),
            "home": str(world.home),
        }
    rows = [[f"{i + 1:2d} {words[i]}" for i in range(row, row + 6)] for row in range(0, 24, 6)]
    lines = [
        f"Vault of [bold]{name}[/bold] made: account {data['address']}",
        table("Write these 24 words down now. They are shown once.", [""] * 6, rows),
        "They alone bring back files, consents and earnings; whoever has them has the vault.",
    ]
    return Shown(data, lines)


@command(app, "add")
def add(
    screen: Screen,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files or folders to seal.")],
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Seal files and folders. Only ciphertext is stored; names and types are sealed too."""
    for path in paths:
        if not path.exists():
            raise NotFound(f"{path} does not exist.", hint="Check the path; nothing was sealed.")
        if not os.access(path, os.R_OK):
            raise InvalidInput(f"{path} cannot be read.", hint="Check who owns it; nothing was sealed.")
    entries: list[Entry] = []
    skipped: list[dict[str, str]] = []
    with opened(screen, passphrase_file) as (_, _, found), screen.progress("Sealing", _bytes_of(paths)) as bar:
        report = counting(bar)
        for path in paths:
            added = found.add_tree(path, report)
            entries += added.entries
            skipped += [{"name": item.name, "reason": item.reason} for item in added.skipped]
        numbers = {entry.object_id: number for number, entry in enumerate(found.entries(), start=1)}
    if not entries:
        reasons = " ".join(f"{item['name']}: {item['reason']}" for item in skipped) or "There is no file in it."
        raise InvalidInput("Nothing was sealed.", hint=reasons, skipped=skipped)
    rows = [[numbers[e.object_id], e.name, e.media_type, e.size, e.records] for e in entries]
    lines = [table(f"Sealed {len(entries)} files", ["#", "name", "type", "bytes", "records"], rows, numbers=[0, 3, 4])]
    lines += [plain(f"left out: {item['name']}: {item['reason']}") for item in skipped]
    data = {"added": [describe(numbers[entry.object_id], entry) for entry in entries], "skipped": skipped}
    return Shown(data, lines)


def counting(bar: Callable[[int, str], None]) -> Callable[[int], None]:
    """Progress in steps, as the vault tells it, for a bar that shows how far it is."""
    done = 0

    def report(step: int) -> None:
        nonlocal done
        done += step
        bar(done, "")

    return report


def _bytes_of(paths: list[Path]) -> int:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files)


@command(app, "list")
def list_(screen: Screen, passphrase_file: PassphraseFile = None) -> Shown:
    """All objects of the vault."""
    with opened(screen, passphrase_file) as (_, owner, found):
        items = [describe(number, entry) for number, entry in enumerate(found.entries(), start=1)]
        name, unreadable = owner.identity.name, found.unreadable()
    rows = [
        [item["number"], item["name"], item["type"], item["size"], item["records"], "yes" if item["published"] else ""]
        for item in items
    ]
    columns = ["#", "name", "type", "bytes", "records", "published"]
    lines = [table(f"Vault of {name}", columns, rows, numbers=[0, 3, 4]), *_missing(unreadable)]
    return Shown({"objects": items, "unreadable": [str(cid) for cid in unreadable]}, lines)


def _missing(unreadable: list[Cid]) -> list[str]:
    if not unreadable:
        return []
    return [f"[yellow]{len(unreadable)} descriptions cannot be read: bring their blocks back from a backup.[/yellow]"]


@command(app, "show")
def show(
    screen: Screen,
    name: ObjectName,
    keys: Annotated[bool, typer.Option("--keys", help="Also the data key: who has it opens this object.")] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Everything about one object; with --keys also what opens it without Allod (docs/format/10-payload.md)."""
    from vault.segments import associated_data

    with opened(screen, passphrase_file) as (_, _, found):
        entries = found.entries()
        entry = pick(entries, name)
        data = describe(entries.index(entry) + 1, entry)
        manifest = found.manifest(entry.object_id)
        data |= {"vault": to_hex(found.vault_id), "sealed_size": manifest.size, "notes": entry.notes}
        if keys:
            ad = associated_data(found.vault_id, entry.object_id)
            data["keys"] = {
                "algorithm": manifest.alg,
                "dek": to_hex(found.dek(entry.object_id)),
                "associated_data": to_hex(ad),
            }
    lines = [f"{key}: {plain(value)}" for key, value in data.items() if key != "keys"]
    lines += [f"{key}: {value}" for key, value in data.get("keys", {}).items()]
    return Shown(data, lines)


@command(app, "get")
def get(
    screen: Screen,
    name: ObjectName,
    output: Output = None,
    sealed: Annotated[bool, typer.Option("--sealed", help="The ciphertext as it is stored, for stock Tink.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Open an object into a file, whole or not at all."""
    from core.files import write_pieces
    from vault.unixfs import walk

    with opened(screen, passphrase_file) as (world, _, found):
        entry = pick(found.entries(), name)
        path = output or Path(Path(entry.name).name + (".sealed" if sealed else ""))
        _check_place(path, replace=force)
        manifest = found.manifest(entry.object_id)
        with screen.progress("Fetching" if sealed else "Opening", manifest.size) as bar:
            if sealed:
                size = write_pieces(path, walk(manifest.payload, world.blocks, manifest.size), overwrite=force)
            else:
                size = found.write(entry.object_id, path, overwrite=force, progress=counting(bar))
    what = "sealed bytes" if sealed else "bytes"
    return Shown({"path": str(path), "size": size, "sealed": sealed}, [f"Wrote {size} {what} to {plain(path)}."])


def _check_place(path: Path, *, replace: bool) -> None:
    """Say before any work that nothing can be written there."""
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder.", hint="Name the file to write: -o FILE.")
    if not path.parent.is_dir():
        raise NotFound(f"There is no folder {path.parent}.", hint="Make it first, or choose another place: -o FILE.")
    if os.path.lexists(path) and not replace:
        raise Conflict(
            f"{path} exists already.", hint="Choose another name with -o FILE, or say --force to replace it."
        )


@command(app, "preview")
def preview(
    screen: Screen,
    name: ObjectName,
    limit: Annotated[int, typer.Option(min=1, help="How many records at the most.")] = 20,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """The exact records that a consented job would train on."""
    from vault.readers import Record

    records: list[dict[str, Any]] = []
    broken: list[dict[str, str]] = []
    with opened(screen, passphrase_file) as (_, _, found):
        entry = pick(found.entries(), name)
        for item in found.preview(entry.object_id):
            if isinstance(item, Record):
                if len(records) < limit:
                    records.append({"place": item.place, **item.document()})
            else:
                broken.append({"place": item.place, "reason": item.reason})
    lines: list[str] = [f"{plain(entry.name)}: {entry.records} records, {len(records)} shown"]
    for record in records:
        lines.append(f"[bold]{plain(record['place'])}[/bold]")
        texts = [record["text"]] if record["kind"] == "text" else _turns(record["messages"])
        lines += ["  " + plain(text) for text in texts]
    lines += [f"[yellow]unreadable[/yellow] {plain(item['place'])}: {plain(item['reason'])}" for item in broken]
    data = {"name": entry.name, "total": entry.records, "records": records, "unreadable": broken}
    return Shown(data, lines)


def _turns(messages: list[dict[str, str]]) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in messages]


@command(app, "rm")
def rm(
    screen: Screen,
    name: ObjectName,
    even_if_published: Annotated[
        bool, typer.Option("--even-if-published", help="Also when a dataset of yours lists it.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Take an object out and delete its blocks here. Revoke first what you published of it."""
    with opened(screen, passphrase_file) as (_, _, found):
        entry = pick(found.entries(), name)
        if entry.datasets and not even_if_published:
            raise Conflict(
                f"{entry.name} is in {len(entry.datasets)} published dataset(s) of yours.",
                hint="Revoke their consents first (`allod consent list`, `allod consent revoke`). To remove it then, "
                "say --even-if-published: trainers can no longer fetch it; but keys that were released cannot be "
                "recalled, and copies of its blocks elsewhere stay.",
                datasets=[to_hex(digest) for digest in entry.datasets],
            )
        found.remove(entry.object_id, even_if_published=even_if_published)
    lines = [f"{plain(entry.name)} is gone from this vault and this block store."]
    if entry.datasets:
        lines.append("Keys that were released for it before cannot be recalled; copies of its blocks elsewhere stay.")
    return Shown({"removed": to_hex(entry.object_id), "was_published": bool(entry.datasets)}, lines)


@command(app, "restore")
def restore(
    screen: Screen,
    words_file: Annotated[
        Path | None,
        typer.Option("--words-file", metavar="FILE", help="The 24 words; - is stdin. Without it you are asked."),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Your wallet's 0x address, if you brought one.")] = None,
    join: Annotated[bool, typer.Option("--join", help="Unite copies of the vault that went separate ways.")] = False,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Collect what the words still open when the newest files are lost.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Bring a vault back from its 24 words and a copy of the block files: objects, datasets, consents."""
    from allod.owner import opened_vault, relist
    from allod.passphrases import read_passphrase, read_words
    from consent.addresses import read_address
    from vault.rootkey import RootKey
    from vault.vault import Vault

    wallet = None if address is None else read_address(address)
    with world_of(screen) as world:
        name = screen.settings.actor or "me"
        file = passphrase_file or screen.settings.passphrase_file
        if words_file is not None and str(words_file) == "-" and file is not None and str(file) == "-":
            raise InvalidInput("Words and passphrase cannot both come from stdin.", hint="Put one into a file.")
        words = read_words(words_file)
        known = world.identities.get(name) if name in world.identities.names() else None
        with screen.progress("Looking for the vault"):
            if salvage:
                row = world.catalogue.head(known.vault_id) if known is not None else None
                found = Vault.salvage(words, world.blocks, sequence=row.sequence if row else 0)
            else:
                found = Vault.restore(words, world.blocks, join=join)
        if known is not None:
            if known.vault_id != found.vault_id:
                raise Conflict(f"{name} has another vault than these words.", hint="Name another with --as NAME.")
            owner = known.unlock(read_passphrase(file, prompt=f"Passphrase of {name}"))
        else:
            passphrase = read_passphrase(file, prompt=f"New passphrase of {name}", confirm=True)
            root = RootKey.from_words(words)
            identity = world.identities.create(name, root, passphrase, vault_id=found.vault_id, address=wallet)
            owner = identity.unlock(passphrase)
        identity = owner.identity
        with screen.progress("Bringing back"), opened_vault(world, owner) as again:
            objects = len(again.entries())
            datasets, consents, lost = relist(world, owner, again)
            unreadable = again.unreadable()
        data = {
            "name": name,
            "address": to_hex(identity.address),
            "vault": to_hex(identity.vault_id),
            "objects": objects,
            "datasets": datasets,
            "consents": consents,
            "lost_datasets": [to_hex(asset) for asset in lost],
            "unreadable": [str(cid) for cid in unreadable],
        }
    lines = [
        f"{name} is back: {objects} objects, {datasets} datasets, {consents} consents, account {data['address']}.",
        "Earnings are on chain: `allod earnings` finds them.",
    ]
    lines += _missing(unreadable)
    if lost:
        lines.append(
            f"[yellow]{len(lost)} datasets have lost public documents; their consents can be revoked.[/yellow]"
        )
    return Shown(data, lines)
