"""Looking a home over: every part, whether it works, and what to do where it does not.

Promises: nothing is created, upgraded or repaired, and no key is used; a part that was never made is "absent", which is
no failure; a part that other parts need and that does not work is a failure, and one sentence says what to do about it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AllodError, Corrupted, InvalidInput, Unavailable
from core.settings import Settings, config_file, default_of, variable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from consent.chain.client import Chain
    from consent.chain.deployment import Deployment
    from consent.committee import Committee, Member
    from vault.cid import Cid

LITTLE_SPACE = 512 << 20  # bytes; below it a sealed file or a base model may not fit
OLD_HEAD = 300  # seconds; a public chain whose newest block is older stands still, or its endpoint lags
AHEAD = 60  # seconds by which a block may run ahead of this machine's clock
OLDEST_CLOCK = 1_760_000_000  # Unix seconds; a clock before it was never set
KEEPER_PATIENCE = 5.0  # seconds that a keeper may take to say who it is
IMPATIENCE = 10.0  # seconds for which a kubo node is waited for
SAMPLE = 64  # blocks that are read without --deep
RESTORE = "Restore it from a copy; vaults, consents and earnings also come back from words, blocks and chain."
EXTRA = ("torch", "transformers", "peft", "tokenizers", "safetensors")


class Mark(StrEnum):
    """How a part is."""

    WORKS = "works"
    FAILS = "fails"
    ABSENT = "absent"  # never made, or not needed here


@dataclass(frozen=True)
class Finding:
    """One part: what was seen, what to do next (may be empty), and whether everything else depends on it."""

    part: str
    mark: Mark
    seen: str
    advice: str = ""
    needed: bool = True

    @property
    def is_failure(self) -> bool:
        """Whether this home cannot do its work until it is mended."""
        return self.needed and self.mark is Mark.FAILS


def look_over(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Every part in turn; `deep` reads and verifies all blocks instead of a sample."""
    home = settings.home
    yield _checked("settings", partial(_settings, settings))
    yield _checked("home", partial(_home, home))
    yield _checked("disk", partial(_disk, home))
    yield _checked("clock", _clock)
    if not home.is_dir() or not any(home.iterdir()):
        yield Finding("world", Mark.ABSENT, f"There is no world in {home} yet.", "`allod vault init` makes one.")
    else:
        yield _checked("identities", partial(_identities, settings))
        yield _checked("database", partial(_database, settings))
        if settings.kubo is not None:
            yield _checked("kubo", partial(_kubo, settings))
        yield _checked("blocks", partial(_blocks, settings, deep))
        yield from _chain_and_what_needs_it(settings)
    yield _checked("trainer", _trainer, needed=False)
    yield _checked("base model", partial(_base_model, settings.demo_base), needed=False)


def _checked(part: str, look: Callable[[], Finding], *, needed: bool = True) -> Finding:
    try:
        return look()
    except Exception as error:  # a check-up goes on
        return _failed(part, error, needed=needed)


def _failed(part: str, error: Exception, *, needed: bool = True) -> Finding:
    if isinstance(error, AllodError):
        return Finding(part, Mark.FAILS, error.message, error.hint or RESTORE, needed)
    return Finding(part, Mark.FAILS, f"It cannot be looked at: {type(error).__name__}.", RESTORE, needed)


def _settings(settings: Settings) -> Finding:
    chosen = [variable(name) for name, value in settings if value != default_of(name)]
    sources = [str(path) for path in (Path(".env"), config_file()) if path.exists()]
    seen = f"Chosen: {', '.join(chosen) or 'none'}; files read: {', '.join(sources) or 'none'}."
    return Finding("settings", Mark.WORKS, seen)


def _home(home: Path) -> Finding:
    place = _existing(home)
    if home.exists() and not home.is_dir():
        return Finding("home", Mark.FAILS, f"{home} is no folder.", "Point ALLOD_HOME to a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("home", Mark.FAILS, f"{place} cannot be written to.", "Change its owner or set ALLOD_HOME.")
    if home.exists() and home.stat().st_mode & 0o022:
        advice = f"Close it with `chmod go-w {home}`."
        return Finding("home", Mark.FAILS, f"Others may write into {home}.", advice, needed=False)
    return Finding("home", Mark.WORKS, str(home))


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    seen = f"{free / 2**30:.1f} GiB are free."
    if free < LITTLE_SPACE:
        return Finding("disk", Mark.FAILS, seen, "Make room, or move ALLOD_BLOCKS to a larger disk.")
    return Finding("disk", Mark.WORKS, seen)


def _clock() -> Finding:
    now = time.time()
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < OLDEST_CLOCK:
        return Finding("clock", Mark.FAILS, seen, "Set this machine's clock: consents begin and end by it.")
    return Finding("clock", Mark.WORKS, seen)


def _identities(settings: Settings) -> Finding:
    from allod.identities import Identities

    found = Identities(settings.home)
    names = found.names()
    for name in names:
        try:
            found.get(name)
        except InvalidInput:
            raise Corrupted(
                f"The key file of {name} is damaged.",
                hint="Restore it from a copy, or remove it and use `allod vault restore` with the 24 words.",
            ) from None
    if not names:
        return Finding("identities", Mark.ABSENT, "Nobody can act here yet.", "`allod vault init` makes a vault.")
    return Finding("identities", Mark.WORKS, ", ".join(names))


def _database(settings: Settings) -> Finding:
    from allod import schema

    if settings.database_url is None and not (settings.home / "allod.db").exists():
        return Finding("database", Mark.ABSENT, "It is made at its first use.")
    with _reading(settings) as engine, engine.connect() as connection:
        current, newest = schema.current(connection), schema.HEAD
        if current != newest and current is not None and not schema.knows(current):
            return Finding(
                "database",
                Mark.FAILS,
                f"It was written by a newer Allod (revision {current}).",
                "Install that version again, or a newer one.",
            )
    if current != newest:
        return Finding("database", Mark.WORKS, f"The next command upgrades it from {current or 'nothing'} to {newest}.")
    return Finding("database", Mark.WORKS, f"It is at the newest revision, {newest}.")


@contextmanager
def _reading(settings: Settings) -> Iterator[Engine]:
    """The database, for reading only where that can be said."""
    import sqlite3

    from sqlalchemy import create_engine

    if settings.database_url is None:
        name = (settings.home / "allod.db").absolute().as_uri() + "?mode=ro"
        engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(name, uri=True))
    else:
        engine = create_engine(settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _kubo(settings: Settings) -> Finding:
    from allod.storage import open_kubo

    with closing(open_kubo(settings, patience=IMPATIENCE)) as node:
        seen = f"Version {node.version()} at {settings.kubo}."
        return Finding("kubo", Mark.WORKS, seen, " ".join(node.notes()))


def _blocks(settings: Settings, deep: bool) -> Finding:
    from allod.storage import open_blocks, open_kubo

    folder, heads, count, bad = settings.blocks_folder, _heads(settings), 0, 0
    place, back = str(folder), "Copy the segment files back from a replica"
    if settings.kubo is not None:
        place, back = f"kubo at {settings.kubo}", "Bring them back from a replica"
    elif not folder.is_dir() and not heads:
        return Finding("blocks", Mark.ABSENT, "No block was stored yet.")
    opened = open_kubo(settings, patience=IMPATIENCE) if settings.kubo else open_blocks(settings, read_only=True)
    with closing(opened) as store:
        lost = store.missing(heads)
        if lost:
            return Finding(
                "blocks",
                Mark.FAILS,
                f"The newest list of {len(lost)} vault(s) of this home is missing in {place}.",
                f"{back}, or point ALLOD_BLOCKS or ALLOD_KUBO to where they lie.",
            )
        for cid in store.cids():
            count += 1
            if deep or count <= SAMPLE:
                try:
                    store.get(cid)
                except AllodError:
                    bad += 1
    if bad:
        return Finding(
            "blocks",
            Mark.FAILS,
            f"{bad} of {count} blocks cannot be read.",
            f"{back}; then `allod vault restore --salvage` lists what opens.",
        )
    read = "all" if deep or count <= SAMPLE else f"{SAMPLE} of them"
    return Finding("blocks", Mark.WORKS, f"{count} blocks, {read} read and verified.")


def _heads(settings: Settings) -> list[Cid]:
    """The newest head of every vault that this home has seen; none where the database cannot tell."""
    from allod import schema
    from vault.catalogue import Catalogue
    from vault.cid import Cid

    if settings.database_url is None and not (settings.home / "allod.db").exists():
        return []
    try:
        with _reading(settings) as engine:
            with engine.connect() as connection:
                if schema.current(connection) != schema.HEAD:
                    return []
            return [Cid.parse(row.head) for row in Catalogue(engine).heads()]
    except Exception:  # the database has a finding of its own
        return []


def _chain_and_what_needs_it(settings: Settings) -> Iterator[Finding]:
    own = settings.home / "chain" / "chain.sqlite"
    if settings.rpc_url is None and not own.exists():
        yield Finding("chain", Mark.ABSENT, "The embedded chain begins with the first dataset or the first play money.")
        return
    with ExitStack() as closing:
        try:
            from consent.chain.joining import open_chain

            chain = open_chain(settings.home, settings.rpc_url)
            closing.callback(chain.close)
            chain.check_chain_id()
        except Exception as error:
            yield _failed("chain", error)
            return
        yield _checked("chain", partial(_head, chain))
        deployment: Deployment | None = None
        try:
            deployment = _deployment(settings, chain)
        except Exception as error:
            yield _failed("contracts", error)
        if deployment is not None:
            yield Finding("contracts", Mark.WORKS, f"Ours, on chain {deployment.chain_id}.")
            from allod.services import keeper_services

            here = {} if settings.committee is not None else keeper_services(settings.home)
            if settings.committee is None and not here:
                yield _checked("keepers", partial(_keepers, settings, chain, deployment))
            else:
                own = settings.home / "keepers" / "committee.json"
                yield from _services(settings.committee or own, here, deployment)
        yield _checked("runner", partial(_runner, settings, chain), needed=False)


def _head(chain: Chain) -> Finding:
    head = chain.block()
    age = time.time() - head.timestamp
    seen = f"Chain {chain.chain_id}, block {head.number}, {max(0, round(age))} s old."
    if chain.is_development:
        seen += " Play money."
    elif age > OLD_HEAD:
        return Finding("chain", Mark.FAILS, seen, "Its endpoint lags: wait, or use another in ALLOD_RPC_URL.")
    elif age < -AHEAD:
        return Finding("chain", Mark.FAILS, f"Its newest block is {-age:.0f} s in the future.", "Set the clock.")
    return Finding("chain", Mark.WORKS, seen)


def _deployment(settings: Settings, chain: Chain) -> Deployment | None:
    from consent.chain.deployment import Deployment

    path = settings.deployment_file
    if not path.exists():
        if settings.rpc_url is None:
            return None  # they are deployed at their first use
        raise Unavailable(
            f"Which contracts are used on that chain is not known: {path} is missing.",
            hint="Set ALLOD_DEPLOYMENT to the deployment.json of the world that runs there.",
        )
    found = Deployment.load(path)
    found.check(chain)
    return found


def _keepers(settings: Settings, chain: Chain, deployment: Deployment) -> Finding:
    from consent.committee import Committee

    path = settings.home / "keepers" / "committee.json"
    if not path.exists():
        return Finding("keepers", Mark.ABSENT, "They are founded with the first dataset.")
    committee = Committee.decode(path.read_bytes())
    committee.verify()
    silent: list[str] = []
    for member in committee.keepers:
        try:
            _ask_keeper(settings.home / "keepers" / str(member.index), chain, deployment, committee)
        except AllodError as error:
            silent.append(f"Keeper {member.index}: {error.message}")
    left = (committee.end - chain.block().timestamp) / 86400
    working = committee.n - len(silent)
    seen = f"{working} of {committee.n} answer; any {committee.t} release, {committee.q} settle; {left:.0f} days left."
    if silent or left <= 0:
        advice = "Restore their folders from a copy." if silent else "A committee out of office releases nothing."
        return Finding("keepers", Mark.FAILS, " ".join([seen, *silent]), advice)
    return Finding("keepers", Mark.WORKS, seen)


def _ask_keeper(folder: Path, chain: Chain, deployment: Deployment, committee: Committee) -> None:
    from consent.keeper.keys import KeeperKeys
    from consent.keeper.node import Keeper
    from consent.keeper.port import InProcessPort
    from consent.keeper.service import read_service

    if not (folder / "keeper.sqlite").exists():
        raise Unavailable("Its records are gone.", hint="Restore its folder from a copy.")
    with Keeper(folder, chain, deployment) as keeper:
        found = read_service(InProcessPort(keeper).call("service", b""), KeeperKeys.open(folder).address)
    if committee.encode() not in found.committees:
        raise Unavailable("It does not know its committee.", hint="Restore its folder from a copy.")


def _services(path: Path, here: dict[int, str], deployment: Deployment) -> Iterator[Finding]:
    """A line for the accepted committee and one for each of its keepers, who answer over HTTP (where `here` says)."""
    from consent.committee import Committee

    try:
        committee = Committee.load(path)
    except Exception as error:
        yield _failed("keepers", error)
        return
    left = (committee.end - time.time()) / 86400
    seen = f"Any {committee.t} of {committee.n} release, {committee.q} settle; {left:.0f} days left."
    if left <= 0:
        yield Finding("keepers", Mark.FAILS, seen, "Out of office they release nothing: accept another committee.")
    else:
        yield Finding("keepers", Mark.WORKS, seen)
    found = [
        _checked(f"keeper {member.index}", partial(_service, member, place, committee, deployment))
        for member in committee.keepers
        for place in [here.get(member.index, member.endpoint)]
    ]
    working = sum(finding.mark is Mark.WORKS for finding in found)
    enough = working >= max(committee.t, committee.q)  # then the others are missed by nobody
    yield from (replace(finding, needed=not enough) for finding in found)


def _service(member: Member, endpoint: str, committee: Committee, deployment: Deployment) -> Finding:
    from consent.keeper.remote import HttpPort
    from consent.keeper.service import read_service

    part = f"keeper {member.index}"
    port = HttpPort(endpoint, timeout=KEEPER_PATIENCE)
    try:
        found = read_service(port.call("service", b""), member.address)
    finally:
        port.close()
    kept_for = (deployment.chain_id, deployment.consent_token, deployment.escrow)
    if (found.chain_id, found.token, found.escrow) != kept_for:
        advice = "Its operator serves other contracts: compare its deployment.json with yours."
        return Finding(part, Mark.FAILS, f"{endpoint} keeps for another chain or contracts.", advice)
    if committee.encode() not in found.committees:
        advice = "Send its operator the committee's document, for `allod keeper serve --committee`."
        return Finding(part, Mark.FAILS, f"{endpoint} does not sit in this committee.", advice)
    off = found.time - time.time()
    if abs(off) > AHEAD:
        advice = "Its operator sets its clock, or you set yours: consents begin and end by it."
        return Finding(part, Mark.FAILS, f"The clock at {endpoint} is off by {off:+.0f} s.", advice)
    seen = f"{endpoint} is 0x{member.address.hex()[:8]}…, {found.entries} entries in its log."
    return Finding(part, Mark.WORKS, seen)


def _runner(settings: Settings, chain: Chain) -> Finding:
    from finetune.jobkey import open_runner

    folder = settings.home / "runner"
    if not (folder / "machine.key").exists():
        return Finding("runner", Mark.ABSENT, "This machine has run no job yet.")
    address = open_runner(folder).account.address
    balance = chain.balance(address)
    seen = f"0x{address.hex()} has {balance / 10**18:.4f} of the chain's money for gas."
    if balance == 0 and not chain.is_development:
        return Finding("runner", Mark.FAILS, seen, "Send it some: without gas it cannot end a job.", needed=False)
    return Finding("runner", Mark.WORKS, seen)


def _trainer() -> Finding:
    found, missing = [], []
    for name in EXTRA:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        seen = f"Not installed: {', '.join(missing)}."
        return Finding("trainer", Mark.ABSENT, seen, "To run jobs here: pip install 'allod[trainer]'.", needed=False)
    return Finding("trainer", Mark.WORKS, ", ".join(found), needed=False)


def _base_model(folder: Path) -> Finding:
    from finetune.model.load import base_model_hash

    if not folder.is_dir():
        return Finding("base model", Mark.ABSENT, "The demo's own is made at the first quote.", needed=False)
    return Finding("base model", Mark.WORKS, f"0x{base_model_hash(folder).hex()[:16]}… in {folder}", needed=False)
