"""Whatever is called, and however it ends: one versioned document on stdout, an exit code by kind, nothing secret."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import typer

from allod import __version__
from allod.cli import shown
from allod.cli.main import GROUPS, SINGLE
from core.encoding import decode_json, encode_json
from tests.cli.conftest import CANARY, PASSPHRASE, Terminal
from tests.cli.prepared import ROOTS, make_base

# What a command is called with here, so that it does its work on the prepared home (whose acting person is ada).
CALLS = {
    "vault init": ["--as", "new"],
    "vault add": ["passphrase"],
    "vault list": [],
    "vault show": ["1"],
    "vault get": ["1"],
    "vault preview": ["1"],
    "vault rm": ["diary.txt"],
    "vault restore": ["--words-file", "words"],
    "dataset publish": ["2", "--title", "A diary"],
    "dataset list": [],
    "dataset show": ["ASSET"],
    "consent offer": ["ASSET"],
    "consent grant": ["ASSET", "--to", "tess"],
    "consent take": ["OFFER", "--as", "tess"],
    "consent list": [],
    "consent revoke": ["--all"],
    "whoami": [],
    "balance": [],
    "faucet": [],
    "deposit": ["1", "--as", "tess"],
    "withdraw": ["1", "--as", "tess"],
    "earnings": [],
    "claim": [],
    "job quote": ["--as", "tess", "--base", "base"],
    "job list": [],
    "job show": ["1"],
    "job run": ["1"],
    "job settle": ["1", "--as", "tess"],
    "job verify": ["1"],
    "chain verify": [],
    "job cancel": ["1", "--as", "tess"],
    "job watch": ["1"],
    "worker": ["--until-idle"],
    "doctor": [],
    "keeper init": ["kept", "--index", "1", "--endpoint", "https://keeper.example"],
    "keeper audit": ["1"],
}
# These end in a refusal on the prepared home, each with its own kind of error.
FAILING = {
    "job try": (["1", "What?"], "not-found"),
    "job start": (["1", "--as", "tess"], "conflict"),
    "job verify": (["forged"], "verification-failed"),
    "job reclaim": (["1", "--as", "tess"], "refused"),
    "demo": (["--data", "/nowhere"], "not-found"),
    "keeper found": (["none.json", "-o", "c.json", "--threshold", "2", "--quorum", "2"], "unavailable"),
    "keeper sign": (["none", "c.json"], "not-found"),
    "keeper serve": (["none", "--committee", "c.json", "--rpc", "x", "--deployment", "d.json"], "not-found"),
    "serve": (["--host", "0.0.0.0"], "invalid-input"),
    "chain serve": ([], "invalid-input"),  # with ALLOD_RPC_URL set
    "chain deploy": ([], "conflict"),
}


def commands() -> set[str]:
    """Every command there is."""
    names = set()
    for group, (module, _) in GROUPS.items():
        app: typer.Typer = import_module(module).app
        names |= {f"{group} {one.name}" for one in app.registered_commands}
    return names | set(SINGLE)


def filled(allod: Terminal, words: list[str]) -> list[str]:
    """`words` with the names that only this home knows."""
    (allod.home.parent / "words").write_text(ROOTS["ada"].words())
    make_base(allod.home.parent / "base")
    asset = allod("dataset", "list").data["datasets"][0]["asset"]
    offers = [one for one in allod("consent", "list", "--as", "ada").data["consents"] if one["kind"] == "offer"]
    names = {"ASSET": asset[:20], "OFFER": offers[0]["consent"]}
    return [names.get(word, word) for word in words]


def test_every_command_is_tried_here() -> None:
    assert commands() == {*CALLS, *FAILING}


def forge(allod: Terminal) -> None:
    """A copy of job 1's bundle in which the recipe has another seed."""
    (bundle,) = allod.home.glob("bundles/*")
    shutil.copytree(bundle, allod.home.parent / "forged")
    recipe = allod.home.parent / "forged" / "evidence" / "recipe.json"
    changed = decode_json(recipe.read_bytes())
    changed["seed"] += 1
    recipe.write_bytes(encode_json(changed))


def secrets(allod: Terminal) -> list[str]:
    """What no output may hold: passphrase, words, root keys, and a sealed file's text."""
    found = [PASSPHRASE, CANARY]
    for root in ROOTS.values():
        found += [root.words(), root.evm_key().hex(), " ".join(root.words().split()[:3])]
    return found + [bytes([number]).hex() * 32 for number in (1, 2)]


@pytest.mark.parametrize("name", CALLS)
def test_a_command_prints_one_document_and_nothing_else(lived_in: Terminal, name: str) -> None:
    allod = lived_in
    words = filled(allod, CALLS[name])
    said = allod(*name.split(), *words, AS="ada") if "--as" not in words else allod(*name.split(), *words)
    assert said.document["command"] == name
    assert said.data is not None
    assert said.err == ""
    for secret in secrets(allod):
        assert secret not in said.out or (name, secret) == ("vault preview", CANARY)


@pytest.mark.parametrize("name", CALLS)
def test_people_read_lines_without_anything_secret(lived_in: Terminal, name: str) -> None:
    allod = lived_in
    words = filled(allod, CALLS[name])
    said = allod(*name.split(), *words, json=False, **({} if "--as" in words else {"AS": "ada"}))
    assert said.code == 0, said.err
    assert said.out.strip()
    for secret in secrets(allod):
        assert secret not in said.out or (name, secret) == ("vault preview", CANARY)


@pytest.mark.parametrize("name", FAILING)
def test_a_command_that_cannot_do_its_work_says_so_in_a_document(lived_in: Terminal, name: str) -> None:
    words, kind = FAILING[name]
    forge(lived_in)
    more = {"RPC_URL": "http://127.0.0.1:9"} if name == "chain serve" else {}
    said = lived_in(*name.split(), *words, **({} if "--as" in words else {"AS": "ada"}), **more)
    assert said.document["command"] == name
    assert said.error["type"] == kind
    assert said.error["next"]


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["nonsense"], 2, "usage"),
        (["vault", "nonsense"], 2, "usage"),
        (["vault", "get"], 2, "usage"),
        (["vault", "list", "--nonsense"], 2, "usage"),
        (["consent", "offer", "0x123456", "--days", "0"], 2, "usage"),
        (["deposit", "ten", "--as", "tess"], 2, "invalid-input"),
        (["deposit", "-5", "--as", "tess"], 2, "usage"),
        (["deposit", "1.0000001", "--as", "tess"], 2, "invalid-input"),
        (["deposit", "1e3", "--as", "tess"], 2, "invalid-input"),
        (["deposit", "99999999999999999999999", "--as", "tess"], 2, "invalid-input"),
        (["whoami"], 2, "invalid-input"),
        (["vault", "get", "nothing", "--as", "ada"], 3, "not-found"),
        (["vault", "get", "99", "--as", "ada"], 3, "not-found"),
        (["vault", "add", "/nowhere", "--as", "ada"], 3, "not-found"),
        (["whoami", "--as", "nobody"], 3, "not-found"),
        (["dataset", "show", "0xffffffff"], 3, "not-found"),
        (["job", "show", "77"], 3, "not-found"),
        (["consent", "take", "0xffffffff", "--as", "tess"], 3, "not-found"),
        (["vault", "list", "--as", "ada", "--passphrase-file", "wrong"], 4, "denied"),
        (["deposit", "99999999", "--as", "tess"], 5, "refused"),
        (["job", "reclaim", "1", "--as", "tess"], 5, "refused"),
        (["vault", "rm", "notes.md", "--as", "ada"], 6, "conflict"),
        (["vault", "init", "--as", "ada"], 6, "conflict"),
        (["balance", "--as", "ada", "RPC"], 9, "unavailable"),
        (["job", "verify", "forged", "--as", "ada"], 10, "verification-failed"),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_says_what_to_do(
    lived_in: Terminal, words: list[str], code: int, kind: str
) -> None:
    (lived_in.home.parent / "wrong").write_text("not it\n")
    forge(lived_in)
    more = {}
    if words[-1] == "RPC":
        words, more = words[:-1], {"RPC_URL": "http://127.0.0.1:9"}
    said = lived_in(*words, **more)
    assert (said.code, said.error["type"]) == (code, kind), said.error
    assert said.error["title"]
    assert said.error["next"], said.error
    people = lived_in(*words, json=False, **more)
    assert people.code == code
    assert said.error["title"].split()[0] in people.err
    assert kind == "verification-failed" or people.out == ""


def test_a_wrong_passphrase_is_denied_without_a_hint_of_which_part(lived_in: Terminal) -> None:
    def told(passphrase: str) -> dict[str, object]:
        said = lived_in("vault", "list", "--as", "ada", "--passphrase-file", "-", stdin=passphrase + "\n")
        assert said.code == 4
        return said.error

    answers = [told(text) for text in ("x", PASSPHRASE[:-1], PASSPHRASE + " ", PASSPHRASE.upper())]
    assert all(answer == answers[0] for answer in answers)


def test_a_damaged_block_is_an_error_of_its_own_and_leaves_no_file(lived_in: Terminal) -> None:
    (segment,) = lived_in.home.glob("blocks/*.car")
    payload = lived_in("vault", "show", "photo.bin", "--as", "ada").data["payload"]
    from vault.carstore import CarStore
    from vault.cid import Cid

    with CarStore(lived_in.home / "blocks", read_only=True) as store:
        block = store.get(Cid.parse(payload))
    data = segment.read_bytes()
    segment.write_bytes(data.replace(block, block[:-1] + bytes([block[-1] ^ 1])))
    before = set(lived_in.home.parent.iterdir())
    said = lived_in("vault", "get", "photo.bin", "--as", "ada")
    assert (said.code, said.error["type"]) == (7, "corrupted")
    assert set(lived_in.home.parent.iterdir()) == before
    doctor = lived_in("doctor", "--deep")
    assert doctor.code == 9
    (blocks,) = [one for one in doctor.error["detail"]["checks"] if one["part"] == "blocks"]
    assert blocks["state"] == "fails"


def test_an_error_that_nobody_foresaw_is_a_bug_without_a_traceback_or_a_value(
    lived_in: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ValueError(f"something about {PASSPHRASE}")

    monkeypatch.setattr("vault.vault.Vault.entries", breaks)
    said = lived_in("vault", "list", "--as", "ada")
    assert (said.code, said.error["type"]) == (shown.BUG, "bug")
    assert "ValueError" in said.error["title"]
    assert any(place.startswith("allod/cli/vault.py:") for place in said.error["detail"]["places"])
    people = lived_in("vault", "list", "--as", "ada", json=False)
    assert people.code == shown.BUG
    assert PASSPHRASE not in said.out + said.err + people.out + people.err


def test_a_failing_disk_is_told_in_words(lived_in: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", "/somewhere")

    monkeypatch.setattr("vault.vault.Vault.write", full)
    said = lived_in("vault", "get", "1", "--as", "ada")
    assert (said.code, said.error["type"]) == (9, "unavailable")
    assert "No space left" in said.error["title"]


def test_a_database_that_is_none_is_told_in_words(lived_in: Terminal) -> None:
    for path in lived_in.home.glob("allod.db*"):
        path.unlink()
    (lived_in.home / "allod.db").write_bytes(b"this is no database, " * 100)
    said = lived_in("vault", "list", "--as", "ada")
    assert (said.code, said.error["type"]) == (9, "unavailable")
    assert "doctor" in said.error["next"]


def test_a_database_of_a_newer_version_is_left_alone(lived_in: Terminal) -> None:
    import sqlite3

    with sqlite3.connect(lived_in.home / "allod.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'tomorrow'")
    database.close()
    said = lived_in("vault", "list", "--as", "ada")
    assert (said.code, said.error["type"]) == (6, "conflict")
    checks = {one["part"]: one for one in lived_in("doctor").error["detail"]["checks"]}
    assert checks["database"]["state"] == "fails"
    assert "tomorrow" in checks["database"]["seen"]


def test_names_of_files_cannot_steer_the_terminal_or_break_the_output(lived_in: Terminal) -> None:
    folder = lived_in.home.parent / "strange"
    folder.mkdir()
    names = ("[/red].txt", "\x1b]0;owned\x07.txt", "\u202egpj.txt", "line\nbreak.txt", "[link=x]")
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("text\n")
    (folder / "[bold]").symlink_to("nowhere")
    added = lived_in("vault", "add", folder, "--as", "ada", json=False)
    assert "strange/[/red].txt" in added.out
    assert "strange/[bold]: It is a link" in added.out
    for number in range(4, 9):
        for words in (["list"], ["show", number], ["preview", number], ["get", number]):
            said = lived_in("vault", *words, "--as", "ada", json=False)
            assert said.code == 0, said.err
            assert not {"\x1b", "\x07", "\u202e"} & set(said.out + said.err)
    assert lived_in("vault", "rm", "strange/[/red].txt", "--as", "ada", json=False).code == 0
    raw = lived_in("vault", "get", b"\xff\xfe.txt".decode("utf-8", "surrogateescape"), "--as", "ada")
    assert raw.error["type"] == "not-found"


def test_help_loads_nothing_heavy() -> None:
    listing = (
        "import sys, time; began = time.perf_counter(); sys.argv = ['allod', '--help']\n"
        "from allod.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)\n"
        "print('seconds', time.perf_counter() - began)"
    )
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()}
    heavy = {"torch", "transformers", "peft", "numpy", "web3", "eth", "eth_abi", "eth_account", "sqlalchemy", "alembic"}
    heavy |= {"pydantic", "pydantic_settings", "cryptography", "cbor2", "coincurve", "fastapi", "httpx", "mnemonic"}
    assert not loaded & (heavy | {"vault", "consent", "finetune"})
    assert "rich.progress" not in done.stderr.splitlines()
    for name in [*GROUPS, *SINGLE]:
        assert f" {name} " in done.stdout
    print(done.stdout.splitlines()[-1])


def test_help_of_the_groups_loads_no_model_and_no_chain() -> None:
    listing = (
        "import sys\n"
        "from allod.cli import main\n"
        f"for group in {[*GROUPS]}:\n"
        "    sys.argv = ['allod', group, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()}
    assert not loaded & {"torch", "transformers", "peft", "web3", "eth", "sqlalchemy", "cryptography"}
    assert {f"allod.cli.{group}" for group in GROUPS} <= set(done.stderr.splitlines())


def test_version_and_a_group_without_a_command(allod: Terminal) -> None:
    assert allod("--version", json=False).out == f"allod {__version__}\n"
    said = allod("vault", json=False)
    assert said.code == 2
    assert "restore" in said.out + said.err
    assert "✗" not in said.out + said.err
    assert not allod.home.exists()


def test_ctrl_c_at_the_work_ends_with_130_a_document_and_nothing_half_made(
    lived_in: Terminal, wait_until: Callable[[Callable[[], bool], subprocess.Popen[str]], None]
) -> None:
    big = lived_in.home.parent / "big.bin"
    with big.open("wb") as file:
        file.truncate(16 << 30)  # a hole: it costs no disk until it is sealed
    lived_in.settings["as"] = "ada"
    before = lived_in("vault", "list").data
    blocks = lived_in.home / "blocks"

    def stored() -> int:
        return sum(path.stat().st_size for path in blocks.glob("*.car"))

    small = stored()
    process = lived_in.begin("vault", "add", big)
    wait_until(lambda: stored() > small + (4 << 20), process)
    while process.poll() is None:  # as a person does: once more where the first was not heard
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    out, err = process.communicate(timeout=60)
    assert process.returncode == shown.INTERRUPTED, out + err
    assert json.loads(out)["error"]["type"] == "interrupted"
    assert err == ""
    assert lived_in("vault", "list").data == before
    assert lived_in("vault", "add", "passphrase").code == 0  # no lock is left behind
    assert lived_in("doctor", "--deep").code == 0
    os.unlink(big)


def test_a_reader_that_goes_away_is_no_error_to_complain_about(lived_in: Terminal, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = lived_in.environment(AS="ada")
    words = [sys.executable, "-m", "allod", "vault", "list", "--json"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    os.close(writing)
    assert done.returncode == shown.PIPE_CLOSED
    assert done.stderr == ""
