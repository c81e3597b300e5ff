"""`allod keeper init | found | sign | serve | audit`: be one of the keepers that hold shares of owners' keys."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.shown import Screen, Shown, command, plain
from core.encoding import to_hex
from core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from consent.committee import Committee

app = typer.Typer(name="keeper", no_args_is_help=True)
DAY = 86400
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RPC_PATIENCE = 10.0  # seconds for one question to the chain

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The keeper's folder: keys, records, log.")]


@app.callback()
def keeper() -> None:
    """Keepers: n independent services, any t of which release an object's key to a funded, consented job."""


@command(app, "init")
def init(
    screen: Screen,
    folder: Folder,
    index: Annotated[int, typer.Option(min=1, max=16, help="Its number in the committee.")],
    endpoint: Annotated[str, typer.Option(help="Where clients will reach it, say https://keeper.example.")],
    epoch: Annotated[int, typer.Option(min=1, help="For which epoch of the committee; each has an HPKE key.")] = 1,
) -> Shown:
    """Make a keeper's keys, or a new epoch's key, and its card, which goes to whoever founds the committee."""
    from consent.committee import Member
    from consent.keeper.founding import Card
    from consent.keeper.keys import KeeperKeys
    from consent.keeper.remote import check_endpoint
    from core.errors import Conflict
    from core.files import write_atomic

    check_endpoint(endpoint)
    path = folder / "card.json"
    try:
        keys = KeeperKeys.open(folder)
    except NotFound:
        keys = KeeperKeys.create(folder, epoch=epoch)
    if epoch not in keys.epochs:
        keys.add_epoch(epoch)
    elif path.exists() and Card.decode(path.read_bytes()).epoch >= epoch:
        raise Conflict(
            f"{folder} holds a keeper of epoch {epoch} already.", hint="Choose another folder, or a new --epoch."
        )
    card = Card(epoch, Member(index, keys.hpke_public(epoch), keys.address, endpoint))
    write_atomic(path, card.encode(), mode=0o644)
    data = {"folder": str(folder), "card": str(path), "index": index, "epoch": epoch, "endpoint": endpoint}
    data["address"] = to_hex(keys.address)
    lines = [
        f"Keeper {index} is {data['address']}.",
        f"Its card for everyone: {path}. The keys beside it are for nobody: keep a copy of them offline.",
    ]
    return Shown(data, lines)


@command(app, "found")
def found(
    screen: Screen,
    cards: Annotated[list[Path], typer.Argument(metavar="CARD…", help="Each keeper's card.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the committee's document goes.")],
    threshold: Annotated[int, typer.Option(min=1, help="t: how many keepers' shares open a key.")],
    quorum: Annotated[int, typer.Option(min=1, help="q: how many must sign a refund; n − t + 1 + f against f liars.")],
    days: Annotated[int, typer.Option(min=1, help="How long the committee is in office.")] = 365,
) -> Shown:
    """Put cards together to a committee that each of its keepers then signs."""
    from consent.keeper.founding import Card, Draft
    from core.errors import Conflict
    from core.files import write_atomic

    if output.exists():
        raise Conflict(f"{output} exists already.", hint="Choose another name.")
    read = [Card.decode(path.read_bytes()) for path in cards]
    draft = Draft.of(read, t=threshold, q=quorum, end=int(time.time()) + days * DAY)
    write_atomic(output, draft.encode(), mode=0o644)
    return _shown(output, draft.committee, draft.missing)


@command(app, "sign")
def sign(
    screen: Screen,
    folder: Folder,
    document: Annotated[Path, typer.Argument(metavar="COMMITTEE", help="The committee's document on its way round.")],
) -> Shown:
    """Sign a committee that names this keeper as its card does; the last signature completes the document."""
    from consent.keeper.founding import Card, Draft
    from consent.keeper.keys import KeeperKeys
    from core.files import write_atomic

    keys, card = KeeperKeys.open(folder), Card.decode((folder / "card.json").read_bytes())
    signed = Draft.decode(document.read_bytes()).signed(keys, card)
    write_atomic(document, signed.encode(), mode=0o644)
    return _shown(document, signed.committee, signed.missing)


def _shown(path: Path, committee: Committee, missing: list[int]) -> Shown:
    data = {
        "document": str(path),
        "committee": to_hex(committee.id),
        "hash": to_hex(committee.hash),
        "t": committee.t,
        "n": committee.n,
        "q": committee.q,
        "epoch": committee.epoch,
        "end": committee.end,
        "missing": missing,
        "keepers": [
            {"index": one.index, "address": to_hex(one.address), "endpoint": one.endpoint} for one in committee.keepers
        ],
    }
    end = time.strftime("%Y-%m-%d", time.gmtime(committee.end))
    lines = [f"Any {committee.t} of {committee.n} release, {committee.q} settle; epoch {committee.epoch}, until {end}."]
    lines += [f"  {one.index}  {to_hex(one.address)}  {plain(one.endpoint)}" for one in committee.keepers]
    if missing:
        whom = ", ".join(map(str, missing))
        lines.append(f"{path} still needs `allod keeper sign` by keeper {whom}.")
    else:
        lines.append(f"Everyone signed {path}. Clients accept it with ALLOD_COMMITTEE; keepers serve with --committee.")
    return Shown(data, lines)


@command(app, "serve")
def serve(
    screen: Screen,
    folder: Folder,
    document: Annotated[Path, typer.Option("--committee", help="The committee's document, signed by all.")],
    rpc: Annotated[str, typer.Option(help="JSON-RPC endpoints, with commas between; all must agree.")],
    deployment: Annotated[Path, typer.Option(help="The contracts that are kept for (a deployment.json).")],
    listen: Annotated[str, typer.Option(help="Address and port; port 0 picks a free one.")] = "127.0.0.1:0",
    public: Annotated[bool, typer.Option("--public", help="Listen beyond loopback, in the clear.")] = False,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Tell clients apart by the X-Forwarded-For of a proxy on loopback.")
    ] = False,
) -> Shown:
    """Answer runners, payers and owners until SIGTERM or Ctrl-C. TLS is the work of a reverse proxy in front."""
    from consent.chain.client import Chain
    from consent.chain.deployment import Deployment
    from consent.committee import Committee
    from consent.keeper.http import LOG, serving
    from consent.keeper.limits import SIGNERS
    from consent.keeper.node import Keeper
    from core.files import Lock
    from core.limits import Buckets
    from core.listening import listen as bind

    host, port = _place(listen)
    if host not in LOOPBACK and not public:
        raise InvalidInput(
            f"{host} can be reached from other machines, and this service speaks in the clear.",
            hint="Put a reverse proxy with TLS in front and listen on 127.0.0.1, or say --public.",
        )
    committee, place = Committee.load(document), Deployment.load(deployment)
    with ExitStack() as closing:
        closing.enter_context(Lock(folder / "LOCK", what="This keeper"))
        chains = []
        for url in rpc.split(","):
            chain = closing.enter_context(Chain.http(url.strip(), timeout=RPC_PATIENCE))
            place.check(chain)
            chains.append(chain)
        node = closing.enter_context(Keeper(folder, chains, place, signers=Buckets(SIGNERS)))
        node.join(committee)
        index = next(one.index for one in committee.keepers if one.address == node.address)
        bound = bind(host, port)
        _log_to_stderr(LOG)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        url = closing.enter_context(serving(node, bound, behind_proxy=behind_proxy))
        data: dict[str, Any] = {"url": url, "index": index, "address": to_hex(node.address)}
        data |= {"committee": to_hex(committee.id), "chain": place.chain_id}
        screen.tell(Shown(data, [f"Keeper {index}, {data['address']}, answers on {url}. Ctrl-C or SIGTERM stops it."]))
        stop.wait()
    screen.note("Stopped; what was answered is in the log.")
    return Shown(data)


@command(app, "audit")
def audit(
    screen: Screen,
    source: Annotated[str, typer.Argument(help="A keeper's number in the committee, its folder, or a saved log.")],
    document: Annotated[
        Path | None, typer.Option("--committee", help="The committee's document; by default the accepted one.")
    ] = None,
    number: Annotated[int | None, typer.Option("--keeper", min=1, help="Whose log a saved file is.")] = None,
    rpc: Annotated[str | None, typer.Option(help="Your own JSON-RPC endpoint; by default the settings'.")] = None,
    deployment: Annotated[Path | None, typer.Option(help="The contracts; by default the settings'.")] = None,
    bundles: Annotated[
        list[Path] | None, typer.Option("--bundle", help="A job's bundle: its receipts must be in the log. Repeatable.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Remembers the log's head, so that the next audit notices a cut.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the log to a file.")] = None,
) -> Shown:
    """Check a keeper's log: one chain, nothing missing, and each release and settlement in its right on chain."""
    from allod.auditing import audit_keeper
    from core.errors import VerificationFailed

    changes = {"committee": document, "rpc_url": rpc, "deployment": deployment}
    settings = screen.settings.model_copy(update={name: value for name, value in changes.items() if value is not None})
    done = audit_keeper(settings, source, number=number, bundles=bundles or [], state=state, save=save)
    log, said = done.log, ", ".join(f"{count} {kind}" for kind, count in done.log.kinds.items())
    data: dict[str, Any] = {"keeper": done.index, "address": to_hex(done.address), "entries": len(log.encoded)}
    data |= {"head": to_hex(log.head), "kinds": log.kinds, "receipts": done.receipts, "not_seen": done.notes}
    data["flaws"] = [{"type": one.slug, "entry": one.entry, "title": one.sentence} for one in log.flaws]
    lines = [f"Keeper {done.index}, {data['address']}: {len(log.encoded)} entries ({said or 'none'})."]
    lines += [f"[red]✗[/red] {one.slug}: {plain(one.sentence)}" for one in log.flaws]
    lines += [f"[dim]–[/dim] {plain(note)}" for note in done.notes]
    if log.flaws:
        screen.say(*lines)
        raise VerificationFailed(
            f"The log has {len(log.flaws)} flaw(s): {', '.join(sorted({one.slug for one in log.flaws}))}.",
            hint="Keep the log (--save) and show it to the committee's other users: it is signed evidence.",
            **data,
        )
    lines.append(f"[green]✓[/green] Whole, and in its right; {done.receipts} receipts are in it. Head {data['head']}")
    return Shown(data, lines)


def _place(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"{listen} is no address to listen on.", hint="It looks like 127.0.0.1:7001.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _log_to_stderr(log: logging.Logger) -> None:
    """One line for each request; of everything else only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    log.setLevel(logging.INFO)
