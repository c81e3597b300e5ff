"""A vault by hand, one process after another: in, out, published, removed, and back from its words on a new machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cli.conftest import CANARY, PASSPHRASE, REPOSITORY, Terminal
from tests.cli.prepared import NOTES, ROOTS

PAGE = REPOSITORY / "docs" / "format" / "10-payload.md"


def drop_powers() -> None:
    """In a child: root becomes subject to files' modes too."""
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_vault_from_its_words_to_its_words_in_separate_processes(allod: Terminal) -> None:
    folder = allod.home.parent / "papers"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text(f"{CANARY}\n")
    (folder / "inner" / "b.md").write_text("# Two\n\nparagraphs\n")
    made = allod.alone("vault", "init", "--as", "ada").data
    words = made["words"].split()
    assert len(words) == 24
    added = allod.alone("vault", "add", folder).data
    assert [one["name"] for one in added["added"]] == ["papers/a.txt", "papers/inner/b.md"]
    listed = allod.alone("vault", "list").data["objects"]
    assert [one["number"] for one in listed] == [1, 2]
    assert allod.alone("vault", "show", "2").data["name"] == "papers/inner/b.md"
    assert CANARY in allod.alone("vault", "preview", "1").data["records"][0]["text"]
    allod.alone("vault", "get", "1", "-o", "out.txt")
    assert (allod.home.parent / "out.txt").read_text() == f"{CANARY}\n"
    assert allod.alone("vault", "rm", "2").data["was_published"] is False
    for path in allod.home.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert CANARY.encode() not in data
        assert b"b.md" not in data
        assert made["words"].encode() not in data

    blocks = allod.home.parent / "copied"
    shutil.copytree(allod.home / "blocks", blocks)
    new = allod.at(allod.home.parent / "new", blocks=str(blocks), **allod.settings)
    back = new.alone("vault", "restore", "--as", "ada", "--words-file", "-", stdin=made["words"]).data
    assert (back["objects"], back["address"], back["vault"]) == (1, made["address"], made["vault"])
    assert [one["object"] for one in new.alone("vault", "list").data["objects"]] == [listed[0]["object"]]
    assert not (new.home / "chain").exists()


def test_words_are_shown_once_and_keys_only_when_asked_for(lived_in: Terminal) -> None:
    allod = lived_in
    made = allod("vault", "init", "--as", "new", json=False)
    table = {int(number): word for number, word in re.findall(r"(\d+) ([a-z]+)", made.out)}
    (allod.home.parent / "w").write_text(" ".join(table[number] for number in range(1, 25)))
    assert allod("vault", "restore", "--as", "twin", "--words-file", "w").error["type"] == "not-found"  # nothing in it
    for words in (["show", "1"], ["list"], ["preview", "2"]):
        assert "dek" not in allod("vault", *words, "--as", "ada").out
    keys = allod("vault", "show", "1", "--keys", "--as", "ada").data["keys"]
    assert len(bytes.fromhex(keys["dek"][2:])) == 32


def test_stock_tink_opens_what_is_exported_as_the_page_says(lived_in: Terminal) -> None:
    """The lines are those of docs/format/10-payload.md, fed with what the two commands print."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = lived_in.home.parent
    (folder / "open.py").write_text(program)
    lived_in("vault", "get", "notes.md", "--sealed", "-o", "sealed", "--as", "ada")
    shown = lived_in("vault", "show", "notes.md", "--keys", "--as", "ada").data
    keys = [shown["keys"]["dek"], shown["vault"], shown["object"]]
    done = subprocess.run(
        [sys.executable, "open.py", "sealed", "plain", *keys], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert (folder / "plain").read_text() == NOTES
    assert NOTES.encode() not in (folder / "sealed").read_bytes()


def test_what_cannot_be_read_is_listed_and_the_rest_is_sealed(lived_in: Terminal) -> None:
    folder = lived_in.home.parent / "mixed"
    (folder / "closed").mkdir(parents=True)
    (folder / "a.txt").write_text("a\n")
    (folder / "locked.txt").write_text("b\n")
    (folder / ".hidden").write_text("c\n")
    os.mkfifo(folder / "pipe")
    (folder / "locked.txt").chmod(0)
    (folder / "closed").chmod(0)
    try:
        process = lived_in.begin("vault", "add", folder, "--as", "ada", preexec_fn=drop_powers)
        out, _ = process.communicate(timeout=60)
        alone = lived_in.begin("vault", "add", folder / "locked.txt", "--as", "ada", preexec_fn=drop_powers)
        refused, _ = alone.communicate(timeout=60)
    finally:
        (folder / "closed").chmod(0o700)
    data = json.loads(out)["data"]
    assert [one["name"] for one in data["added"]] == ["mixed/a.txt"]
    reasons = {one["name"]: one["reason"] for one in data["skipped"]}
    assert reasons.keys() == {"mixed/.hidden", "mixed/closed", "mixed/locked.txt", "mixed/pipe"}
    assert reasons["mixed/locked.txt"] == "Permission denied."
    assert alone.returncode == 2
    assert "locked.txt" in json.loads(refused)["error"]["title"]
    (folder / "a.txt").unlink()
    (folder / "locked.txt").unlink()
    said = lived_in("vault", "add", folder, "--as", "ada")
    assert (said.code, said.error["title"]) == (2, "Nothing was sealed.")


def test_objects_of_one_name_are_told_apart_by_number_and_id(lived_in: Terminal) -> None:
    for text in ("first", "second"):
        (lived_in.home.parent / "same.txt").write_text(text)
        assert lived_in("vault", "add", "same.txt", "--as", "ada").code == 0
    said = lived_in("vault", "get", "same.txt", "-o", "x", "--as", "ada")
    assert (said.code, said.error["title"]) == (3, "2 objects of this vault can be called same.txt.")
    listed = lived_in("vault", "list", "--as", "ada").data["objects"]
    lived_in("vault", "get", "4", "-o", "by-number", "--as", "ada")
    lived_in("vault", "get", listed[4]["object"][:12], "-o", "by-id", "--as", "ada")
    assert (lived_in.home.parent / "by-number").read_text() == "first"
    assert (lived_in.home.parent / "by-id").read_text() == "second"


def test_get_replaces_nothing_unasked_and_says_what_is_wrong_with_a_place(lived_in: Terminal) -> None:
    place = lived_in.home.parent / "notes.md"
    place.write_text("mine")
    said = lived_in("vault", "get", "notes.md", "--as", "ada")
    assert said.code == 6
    assert "--force" in said.error["next"]
    assert place.read_text() == "mine"
    assert lived_in("vault", "get", "notes.md", "--force", "--as", "ada").code == 0
    assert place.read_text() == NOTES
    assert place.stat().st_mode & 0o777 == 0o600
    assert lived_in("vault", "get", "1", "-o", "no/such/folder", "--as", "ada").error["type"] == "not-found"
    assert lived_in("vault", "get", "1", "-o", ".", "--as", "ada").error["type"] == "invalid-input"
    link = lived_in.home.parent / "link"
    link.symlink_to("elsewhere")
    assert lived_in("vault", "get", "1", "-o", "link", "--as", "ada").code == 6
    assert not (lived_in.home.parent / "elsewhere").exists()


def test_what_is_published_is_removed_only_after_a_second_word(lived_in: Terminal) -> None:
    said = lived_in("vault", "rm", "notes.md", "--as", "ada")
    assert said.code == 6
    assert "consent revoke" in said.error["next"]
    assert "--even-if-published" in said.error["next"]
    assert "cannot be recalled" in said.error["next"]
    assert lived_in("vault", "show", "notes.md", "--as", "ada").code == 0
    assert lived_in("consent", "revoke", "--all", "--as", "ada").data["keepers_stored"] == 3
    gone = lived_in("vault", "rm", "notes.md", "--even-if-published", "--as", "ada", json=False)
    assert "cannot be recalled" in gone.out
    assert lived_in("vault", "show", "notes.md", "--as", "ada").code == 3


# -- passphrases and names -------------------------------------------------------------------------------------------


def test_a_passphrase_comes_from_a_file_from_stdin_or_from_nowhere(lived_in: Terminal) -> None:
    def code(*words: object, stdin: str | bytes = "", **settings: str) -> int:
        said = lived_in("vault", "list", "--as", "ada", *words, stdin=stdin, **settings)
        assert said.code == 0 or said.error["next"]
        return said.code

    assert code("--passphrase-file", "-", stdin=f"{PASSPHRASE}\nmore\n") == 0
    assert code("--passphrase-file", "-", stdin=f"{PASSPHRASE}\r\n") == 0
    assert code(passphrase_file="") == 2  # nobody is at a terminal
    assert code("--passphrase-file", "-", stdin="") == 2
    assert code("--passphrase-file", "-", stdin=b"\xff\xfe\n") == 2
    assert code("--passphrase-file", "nowhere") == 2
    assert code("--passphrase-file", ".") == 2
    assert code("--passphrase-file", "-", stdin="x" * 5000) == 2
    assert code("--passphrase-file", "-", stdin=PASSPHRASE + "x" * 1000) == 4
    both = lived_in("vault", "restore", "--words-file", "-", "--passphrase-file", "-", "--as", "other", stdin="x")
    assert (both.code, both.error["type"]) == (2, "invalid-input")


def test_an_argument_or_a_variable_never_carries_a_passphrase(lived_in: Terminal) -> None:
    for words in (["--passphrase", PASSPHRASE], ["--password", PASSPHRASE]):
        assert lived_in("vault", "list", "--as", "ada", *words).error["type"] == "usage"
    assert lived_in("vault", "list", "--as", "ada", passphrase_file="", passphrase=PASSPHRASE).code == 2


def test_wrong_words_are_refused_without_repeating_them(lived_in: Terminal) -> None:
    words = ROOTS["ada"].words().split()
    for wrong in (words[:23], [*words[:23], "abandon"], [*words[:22], "nonsense", words[23]], ["x"] * 24, []):
        said = lived_in("vault", "restore", "--as", "again", "--words-file", "-", stdin=" ".join(wrong))
        assert said.error["type"] in ("invalid-input", "not-found")
        assert said.error["next"]
        assert "nonsense" not in said.out
        assert words[3] not in said.out
    assert "again" not in lived_in("whoami", "--as", "ada").data["known"]


@pytest.mark.parametrize("name", ["", "A", "ada/../x", "..", "-x", "a b", "ä", "a" * 33, "x\n", "con.json"])
def test_names_are_plain(allod: Terminal, name: str) -> None:
    said = allod("vault", "init", f"--as={name}", AS="ok name" if not name else "")
    assert (said.code, said.error["type"]) == (2, "invalid-input")
    assert said.error["next"]
    assert not list(allod.home.rglob("*.json"))


def test_who_acts_is_named_by_option_by_variable_or_by_being_alone(lived_in: Terminal) -> None:
    assert lived_in("whoami", "--as", "ada").data["name"] == "ada"
    assert lived_in("whoami", AS="tess").data["name"] == "tess"
    assert lived_in("whoami", "--as", "ada", AS="tess").data["name"] == "ada"
    said = lived_in("whoami")
    assert (said.code, "ada, tess" in said.error["title"]) == (2, True)
    (lived_in.home / "identities" / "tess.json").unlink()
    assert lived_in("whoami").data["name"] == "ada"
    (lived_in.home / "identities" / "ada.json").write_text("{}")
    assert lived_in("whoami").code in (2, 7)
    assert lived_in("doctor").code == 9


# -- at a terminal ---------------------------------------------------------------------------------------------------


class Typist:
    """Somebody at a terminal of a process's own: answers prompts, presses keys, sees what is echoed."""

    def __init__(self, allod: Terminal, *words: object) -> None:
        import pty

        self._main, theirs = pty.openpty()
        environment = allod.environment(passphrase_file="")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "allod", *map(str, words), "--json"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
            cwd=allod.home.parent,
            preexec_fn=lambda: _own_terminal(theirs),  # noqa: PLW1509 (no thread runs here)
        )
        os.close(theirs)
        self.seen = b""

    def answer(self, prompt: str, text: str) -> None:
        while not self.seen.endswith(prompt.encode()):
            self.seen += os.read(self._main, 1024)
        os.write(self._main, text.encode())

    def interrupt(self, prompt: str) -> None:
        """Press Ctrl-C as a person does: again, if it came in the moment before the process began to read."""
        self.watch(prompt)
        while self.process.poll() is None:
            os.write(self._main, b"\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)

    def watch(self, text: str) -> None:
        """Look at the screen until that stands there."""
        while text.encode() not in self.seen:
            self.seen += os.read(self._main, 1024)

    def end(self) -> tuple[int, dict[str, object]]:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):  # the terminal ends with its last process
            while piece := os.read(self._main, 1024):
                self.seen += piece
        out = self.process.stdout.read()
        self.process.stdout.close()
        code = self.process.wait(timeout=60)
        os.close(self._main)
        return code, json.loads(out)


def _own_terminal(fd: int) -> None:
    import fcntl
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background has it ignored
    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def test_a_typed_passphrase_is_asked_twice_and_never_echoed(allod: Terminal) -> None:
    typist = Typist(allod, "vault", "init", "--as", "ada")
    typist.answer("New passphrase of ada: ", "correct horse\n")
    typist.answer("Once more: ", "correct house\n")
    code, document = typist.end()
    assert (code, document["ok"]) == (2, False)
    assert not (allod.home / "identities").exists()
    typist = Typist(allod, "vault", "init", "--as", "ada")
    typist.answer("New passphrase of ada: ", "correct horse\n")
    typist.answer("Once more: ", "correct horse\n")
    assert typist.end()[0] == 0
    assert b"horse" not in typist.seen
    typist = Typist(allod, "vault", "list")
    typist.answer("Passphrase of ada: ", "correct horse\n")
    assert typist.end()[0] == 0


def test_ctrl_c_and_ctrl_d_at_a_prompt_end_the_command(lived_in: Terminal) -> None:
    typist = Typist(lived_in, "vault", "list", "--as", "ada")
    typist.interrupt("Passphrase of ada: ")
    code, document = typist.end()
    assert (code, document["error"]["type"]) == (130, "interrupted")  # type: ignore[index]
    typist = Typist(lived_in, "vault", "list", "--as", "ada")
    typist.answer("Passphrase of ada: ", "\x04")
    assert typist.end()[0] == 2


def test_a_person_at_a_terminal_sees_how_far_it_is(lived_in: Terminal) -> None:
    big = lived_in.home.parent / "big.bin"
    with big.open("wb") as file:
        file.truncate(24 << 20)
    for words, label in ((["add", big], "Sealing"), (["get", "big.bin", "-o", "out.bin"], "Opening")):
        typist = Typist(lived_in, "vault", *words, "--as", "ada")
        typist.answer("Passphrase of ada: ", f"{PASSPHRASE}\n")
        typist.watch(label)
        assert typist.end()[0] == 0
    assert (lived_in.home.parent / "out.bin").stat().st_size == 24 << 20


# -- on a new machine ------------------------------------------------------------------------------------------------


def test_words_blocks_and_an_endpoint_bring_back_files_consents_and_earnings(
    lived_in: Terminal, wait_until: Callable[[Callable[[], bool], subprocess.Popen[str]], None]
) -> None:
    """The old home's keys, database, keepers and jobs are gone: only its blocks are copied, and its chain is served."""
    old = lived_in
    before = old("vault", "list", "--as", "ada").data
    consents = old("consent", "list", "--as", "ada").data
    earned = old("earnings", "--as", "ada").data
    assert earned["totals"]["claimable"] == "2.03"
    server = old.begin("chain", "serve")
    note = old.home / "chain" / "endpoint.json"
    try:
        wait_until(note.exists, server)
        url = json.loads(note.read_bytes())["url"]
        deployment = shutil.copy(old.home / "chain" / "deployment.json", old.home.parent / "deployment.json")
        new_home = old.home.parent / "machine"
        new_home.mkdir()
        shutil.copytree(old.home / "blocks", new_home / "blocks", ignore=shutil.ignore_patterns("index*", "LOCK"))
        new = old.at(new_home, rpc_url=url, deployment=str(deployment), **old.settings)
        (old.home.parent / "words").write_text(ROOTS["ada"].words())
        back = new.alone("vault", "restore", "--as", "ada", "--words-file", "words").data
        assert (back["objects"], back["datasets"], back["consents"]) == (3, 1, 2)
        assert [one["object"] for one in new("vault", "list").data["objects"]] == [
            one["object"] for one in before["objects"]
        ]
        assert new("vault", "get", "notes.md").code == 0
        assert (old.home.parent / "notes.md").read_text() == NOTES
        assert new("consent", "list").data == consents
        assert new("dataset", "list").data["datasets"][0]["title"] == "Ada's notes"
        assert new("earnings").data["earnings"] == earned["earnings"]
        assert new("claim").data["paid"] == "2.03"
        assert new("earnings").data["totals"]["paid"] == "2.03"
        assert new("balance").data["tokens"] == "2.03"
        assert new("balance").data["native_wei"] == "0"
        again = new("vault", "restore", "--as", "ada", "--words-file", "words").data  # once more changes nothing
        assert again == back
        other = new("vault", "restore", "--as", "ada", "--words-file", "-", stdin=ROOTS["tess"].words())
        assert other.code in (3, 6)
        assert not (new.home / "keepers").exists()
        assert not (new.home / "chain").exists()
        lost = old.at(new_home, rpc_url=url, **old.settings)("earnings")
        assert "ALLOD_DEPLOYMENT" in lost.error["next"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0


def test_restoring_can_unite_and_salvage(lived_in: Terminal) -> None:
    copy = lived_in.at(lived_in.home.parent / "copy", **lived_in.settings)
    shutil.copytree(lived_in.home, copy.home)
    (lived_in.home.parent / "one.txt").write_text("one")
    (lived_in.home.parent / "two.txt").write_text("two")
    lived_in("vault", "add", "one.txt", "--as", "ada")
    copy("vault", "add", "two.txt", "--as", "ada")
    from vault.carstore import CarStore

    with CarStore(copy.home / "blocks", read_only=True) as theirs, CarStore(lived_in.home / "blocks") as ours:
        ours.put_many((cid, theirs.get(cid)) for cid in theirs.cids())
    words = ROOTS["ada"].words()
    again = ("vault", "restore", "--as", "ada", "--words-file", "-")
    apart = lived_in("vault", "list", "--as", "ada")
    assert apart.code == 6
    assert "--join" in apart.error["next"]
    assert lived_in(*again, "--join", stdin=words).data["objects"] == 5
    names = [one["name"] for one in lived_in("vault", "list", "--as", "ada").data["objects"]]
    assert set(names) == {"notes.md", "diary.txt", "photo.bin", "one.txt", "two.txt"}
    assert lived_in(*again, "--salvage", stdin=words).data["objects"] == 5
