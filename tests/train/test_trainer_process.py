"""The trainer child over its pipe, and children that misbehave."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import AllodError, Corrupted, InvalidInput, Unavailable
from finetune.packing import Row, pack
from finetune.recipe_settings import TrainSettings
from finetune.train import Training
from finetune.trainer_process import TrainerLost, TrainerProcess, trainer_command, trainer_environment
from tests.train.conftest import made_up_documents

pytestmark = [
    pytest.mark.needs_trainer,
    # peft 0.21 asks for what transformers 5.23 renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

# Runs the real child under an audit hook that names every file opened for writing.
WATCHED = """
import sys
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)):
        mode, flags = args[1] or "", args[2] or 0
        if any(c in mode for c in "wax+") or flags & 0o103:
            sys.stderr.write(f"WROTE {args[0]!r}\\n")
sys.addaudithook(hook)
from finetune.trainer import main
sys.exit(main())
"""


def test_the_child_trains_what_the_function_trains_and_writes_no_file(tiny_settings: TrainSettings) -> None:
    steps = [(k, pack(made_up_documents(9, seed=k), 32)) for k in range(6)]
    here = Training(tiny_settings)
    with TrainerProcess(command=[sys.executable, "-P", "-s", "-c", WATCHED]) as child:
        ready = child.configure(tiny_settings)
        assert (ready.parameters, ready.trainable) == (
            sum(p.numel() for p in here.model.parameters()),
            sum(p.numel() for p in here.trained),
        )
        assert ready.bits == 32
        assert child.evaluate(steps[0][1]).loss_micro == round(here.evaluate(steps[0][1]).loss * 1e6)
        for k, rows in steps:
            told, own = child.step(k, rows), here.step(k, rows)
            assert (told.loss_micro, told.tokens) == (round(own.loss * 1e6), own.tokens)
        assert child.step(6, []).tokens == 0
        base = child.evaluate(steps[0][1], base=True)
        assert base.loss_micro == round(here.evaluate(steps[0][1], base=True).loss * 1e6)
        prompts = [[5, 3], [7, 8, 9]]
        assert child.generate(prompts, 5, [2]) == here.generate(prompts, 5, [2])
        assert child.generate(prompts, 5, [2], base=True) == here.generate(prompts, 5, [2], base=True)
        files = child.finish()
        written = [line for line in child.stderr.splitlines() if line.startswith("WROTE")]
    assert files == here.adapter_files()
    assert [line for line in written if "/dev/null" not in line] == []
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_refusal_in_the_child_is_the_same_error_here(tiny_settings: TrainSettings) -> None:
    with TrainerProcess() as child:
        child.configure(tiny_settings)
        with pytest.raises(InvalidInput, match="does not know"):
            child.step(0, [Row([5, 4000], [-100, 4000], [0, 1])])
        with pytest.raises(AllodError):
            child.step(1, pack(made_up_documents(3), 32))


def test_an_unexpected_failure_tells_where_and_quotes_nothing(tiny_settings: TrainSettings, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "a secret of an owner"}')
    with TrainerProcess() as child, pytest.raises(AllodError) as caught:
        child.configure(dataclasses.replace(tiny_settings, base=str(tmp_path)))
    assert "secret" not in str(caught.value)


def test_the_child_inherits_nothing_that_it_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOD_PASSPHRASE", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    environment = trainer_environment()
    assert "hunter2" not in environment.values()
    assert not {"HOME", "USER", "HTTPS_PROXY", "SSH_AUTH_SOCK"} & set(environment)
    assert environment["TRANSFORMERS_OFFLINE"] == environment["HF_HUB_OFFLINE"] == "1"


def test_a_hardened_process_leaves_no_core_and_is_not_dumpable() -> None:
    code = (
        "import ctypes, resource; from finetune.trainer import harden; harden();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    out = subprocess.run([sys.executable, "-c", code], env=trainer_environment(), capture_output=True, check=True)
    assert out.stdout == b"0 (0, 0)\n"


def test_prints_of_a_library_do_not_reach_the_pipe() -> None:
    code = (
        "import os; from finetune.trainer import take_pipes; from finetune.frames import write_frame\n"
        "_, sink = take_pipes(); print('chatter', flush=True); os.system('echo more chatter')\n"
        "write_frame(sink, {'kind': 'evaluated', 'loss_micro': 1, 'tokens': 2})\n"
        "os.read(0, 1)"
    )
    with TrainerProcess(command=[sys.executable, "-P", "-c", code]) as child:
        assert child.evaluate([]).tokens == 2


ANSWER = "from finetune.frames import write_frame; import sys; out = sys.stdout.buffer\n"


def liar(code: str, *, patience: float = 600) -> TrainerProcess:
    """A child that reads the first frame and then runs `code`."""
    begin = "from finetune.frames import read_frame; import sys; read_frame(sys.stdin.buffer)\n"
    return TrainerProcess(command=[sys.executable, "-P", "-c", begin + ANSWER + code], patience=patience)


@pytest.mark.parametrize(
    "code",
    [
        "write_frame(out, {'kind': 'evaluated', 'loss_micro': 1, 'tokens': 2, 'text': 'the words of an owner'})",
        "write_frame(out, {'kind': 'evaluated', 'loss_micro': 'words', 'tokens': 2})",
        "write_frame(out, {'kind': 'evaluated', 'loss_micro': -1, 'tokens': 2})",
        "write_frame(out, {'kind': 'evaluated', 'loss_micro': 2**60, 'tokens': 2})",
        "write_frame(out, {'kind': 'evaluated', 'loss_micro': True, 'tokens': 2})",
        "write_frame(out, {'kind': 'stepped', 'step': 0, 'loss_micro': 1, 'tokens': 2})",
        "out.write(b'Hello, world'); out.flush()",
        "out.write((1 << 30).to_bytes(4, 'big')); out.flush()",
    ],
)
def test_only_agreed_numbers_come_out(code: str) -> None:
    with liar(code) as child, pytest.raises(Corrupted):
        child.evaluate([])


@pytest.mark.parametrize(
    "code",
    [
        "write_frame(out, {'kind': 'adapter', 'files': [{'name': '../../.bashrc', 'size': 3}]})",
        "write_frame(out, {'kind': 'adapter', 'files': [{'name': 'adapter_config.json', 'size': 3}]})",
        "F([9 << 30, 1])",
        "F([3, 1]); write_frame(out, {'kind': 'file', 'name': 'else', 'data': b'x'})",
        "F([3, 1]); write_frame(out, {'kind': 'file', 'name': 'adapter_config.json', 'data': b'four'})",
        "F([3, 1]); write_frame(out, {'kind': 'done'})",
    ],
)
def test_an_adapter_is_the_two_files_of_the_announced_size_or_nothing(code: str) -> None:
    names = "['adapter_config.json', 'adapter_model.safetensors']"
    announce = (
        "def F(sizes): write_frame(out, {'kind': 'adapter', 'files': "
        f"[{{'name': n, 'size': s}} for n, s in zip({names}, sizes)]}})\n"
    )
    with liar(announce + code) as child, pytest.raises(Corrupted):
        child.finish()


def test_answers_for_another_step_or_other_prompts_are_refused() -> None:
    with liar("write_frame(out, {'kind': 'stepped', 'step': 7, 'loss_micro': 1, 'tokens': 2})") as child:
        child.begin_step(0, [])
        with pytest.raises(Corrupted, match="another step"):
            child.end_step(0)
    with liar("write_frame(out, {'kind': 'generated', 'outputs': [[1, 2, 3]]})") as child, pytest.raises(Corrupted):
        child.generate([[1]], 2, [])


def test_a_child_that_dies_is_reported_with_its_status() -> None:
    with liar("import os; os.kill(os.getpid(), 9)") as child, pytest.raises(Unavailable) as caught:
        child.evaluate([])
    assert caught.value.detail == {"exit_status": -9}


def test_a_child_that_gives_no_answer_is_lost_and_ended() -> None:
    child = TrainerProcess(command=[sys.executable, "-c", "import sys; sys.stdin.buffer.read()"], patience=0.2)
    with child, pytest.raises(TrainerLost, match=r"no answer for 0\.2 seconds"):
        child.evaluate([])
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_child_that_does_not_even_read_is_lost() -> None:
    long = Row(list(range(200_000)), list(range(200_000)), list(range(200_000)))  # more than a pipe holds
    child = TrainerProcess(command=[sys.executable, "-c", "import time; time.sleep(3600)"], patience=0.2)
    with child, pytest.raises(TrainerLost, match="no answer"):
        child.begin_step(0, [long])


def test_a_child_that_answers_in_pieces_has_patience_for_each() -> None:
    code = "write_frame(out, {'kind': 'evaluated', 'loss_micro': 1, 'tokens': 2})\n" * 3 + "sys.stdin.buffer.read()"
    with liar(code, patience=60) as child:
        assert [child.evaluate([]).tokens for _ in range(3)] == [2, 2, 2]


def test_what_a_child_complains_is_kept_within_bounds() -> None:
    with liar("sys.stderr.write('x' * 10**6); sys.stderr.flush()") as child:
        with pytest.raises(Unavailable):
            child.evaluate([])
        child.close()
        assert 0 < len(child.stderr) <= 16384


def test_leaving_with_an_error_leaves_no_child(tiny_settings: TrainSettings) -> None:
    child = TrainerProcess()
    with pytest.raises(InvalidInput), child:
        child.begin(dataclasses.replace(tiny_settings, seed=-1))
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_trainer_that_was_not_started_says_so() -> None:
    with pytest.raises(Unavailable, match="not started"):
        TrainerProcess().evaluate([])


def test_the_command_can_be_put_behind_a_sandbox() -> None:
    assert trainer_command()[-2:] == ["-m", "finetune.trainer"]
