"""The ledger counts completed steps, survives any kill, and cannot be rewritten unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import encode_cbor, from_hex, to_hex
from core.errors import Corrupted, InvalidInput
from core.ids import ConsentId, JobId
from finetune.ledger import Ledger, Use, owed, read_ledger

VECTORS = Path(__file__).parents[1] / "vectors"
JOB = JobId(b"j" * 32)
PLAN = b"p" * 32
ADA, BRUNO = ConsentId(b"a" * 32), ConsentId(b"b" * 32)


def written(path: Path) -> bytes:
    with Ledger(path, JOB) as ledger:
        ledger.start(PLAN)
        ledger.commit(0, {ADA: Use(2, 30), BRUNO: Use(1, 9)})
        ledger.drop(1, [BRUNO])
        ledger.commit(1, {ADA: Use(3, 40)})
    return path.read_bytes()


def test_counts_add_up_over_steps(tmp_path: Path) -> None:
    tally = read_ledger(written(tmp_path / "ledger"), JOB)
    assert (tally.owed(ADA), tally.owed(BRUNO)) == (5, 1)
    assert tally.used(ADA) == Use(5, 70)
    assert tally.dropped == {BRUNO}
    assert tally.plan == PLAN


def test_a_second_attempt_does_not_count_the_same_records_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    written(path)
    with Ledger(path, JOB) as ledger:
        ledger.start(PLAN)
        ledger.commit(0, {ADA: Use(2, 30)})
        assert ledger.tally.owed(ADA) == 5  # the first attempt got further
        assert ledger.tally.owed(BRUNO) == 1  # what she is owed stays owed
        assert ledger.tally.used(BRUNO) == Use()  # and none of it is in this adapter
        ledger.commit(1, {ADA: Use(3, 40)})
        ledger.commit(2, {ADA: Use(4, 50)})
        assert ledger.tally.owed(ADA) == 9


def resumed(path: Path) -> bytes:
    """Three steps and a drop; then on from step 1, so that steps 1 and 2 are taken back."""
    with Ledger(path, JOB) as ledger:
        ledger.start(PLAN)
        ledger.commit(0, {ADA: Use(2, 30), BRUNO: Use(1, 9)})
        place = ledger.tally.head
        ledger.commit(1, {ADA: Use(3, 40), BRUNO: Use(1, 9)})
        gone = ledger.tally.head
        ledger.drop(2, [BRUNO])
        ledger.commit(2, {ADA: Use(1, 10)})
        assert ledger.tally.stands_at(place, 1)
        assert ledger.tally.stands_at(gone, 2)
        assert not ledger.tally.stands_at(place, 2)
        ledger.resume(1)
        assert ledger.tally.stands_at(place, 1)
        assert not ledger.tally.stands_at(gone, 2)
        assert (ledger.tally.next_step, ledger.tally.completed) == (1, 1)
        ledger.commit(1, {ADA: Use(3, 40)})
    return path.read_bytes()


def test_steps_that_a_resume_takes_back_stay_owed_and_are_not_paid_twice(tmp_path: Path) -> None:
    tally = read_ledger(resumed(tmp_path / "ledger"), JOB)
    assert tally.attempts == 2
    assert (tally.used(ADA), tally.owed(ADA)) == (Use(5, 70), 6)
    assert (tally.used(BRUNO), tally.owed(BRUNO)) == (Use(1, 9), 2)
    assert tally.dropped == {BRUNO}
    assert tally.plan == PLAN


def test_a_start_after_a_resume_takes_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    resumed(path)
    with Ledger(path, JOB) as ledger:
        head, step = ledger.tally.head, ledger.tally.next_step
        assert ledger.tally.stands_at(head, step)
        ledger.start(PLAN)
        assert not ledger.tally.stands_at(head, step)
        assert (ledger.tally.used(ADA), ledger.tally.owed(ADA), ledger.tally.completed) == (Use(), 6, 0)


@given(st.lists(st.tuples(st.sampled_from(["step", "resume", "start", "drop"]), st.integers(0, 6)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_what_is_owed_is_the_most_that_the_model_ever_held(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    """Against a model that keeps the list of steps and nothing else."""
    line: list[tuple[int, dict[ConsentId, Use]]] = []
    most, told, step = {ADA: 0, BRUNO: 0}, dict[ConsentId, int](), 0

    def held(consent: ConsentId) -> int:
        return sum(uses.get(consent, Use()).record_epochs for _, uses in line)

    with Ledger(tmp_path_factory.mktemp("any") / "ledger", JOB) as ledger:
        ledger.start(PLAN)
        for kind, number in moves:
            if kind == "step":
                uses = {c: Use(number + 1, 3) for c in (ADA, BRUNO) if c not in told}
                if uses:
                    ledger.commit(step, uses)
                    line.append((step, uses))
                    step += 1
            elif kind == "start":
                ledger.start(PLAN)
                line, step = [], 0
            elif kind == "resume" and 0 < number <= step:
                ledger.resume(number)
                line, step = [taken for taken in line if taken[0] < number], number
            elif kind == "drop" and BRUNO not in told:
                ledger.drop(step, [BRUNO])
                told[BRUNO] = ledger.tally.owed(BRUNO)
            most = {consent: max(count, held(consent)) for consent, count in most.items()}
            assert {consent: ledger.tally.owed(consent) for consent in most} == most
            assert all(ledger.tally.used(consent).record_epochs == held(consent) for consent in most)
            assert ledger.tally.completed == len(line)
            assert all(ledger.tally.owed(consent) == total for consent, total in told.items())


def test_a_dropped_consent_is_never_used_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    written(path)
    with Ledger(path, JOB) as ledger:
        with pytest.raises(InvalidInput):
            ledger.commit(2, {BRUNO: Use(1, 1)})
        ledger.start(PLAN)
        with pytest.raises(InvalidInput):
            ledger.commit(0, {BRUNO: Use(1, 1)})


def test_a_kill_in_the_middle_of_an_entry_loses_that_entry_only(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    counts = set()
    for cut in range(len(whole)):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        with Ledger(path, JOB) as ledger:
            counts.add(ledger.tally.entries)
        assert whole.startswith(path.read_bytes())
        path.unlink()
    assert counts == {0, 1, 2, 3}


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    whole = written(tmp_path / "ledger")
    root = read_ledger(whole, JOB).root()
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= 1
        try:
            assert read_ledger(bytes(changed), JOB).root() != root
        except InvalidInput:
            continue


def test_damage_in_front_of_whole_entries_is_an_error_and_not_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    whole = bytearray(written(path))
    whole[40] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(Corrupted):
        Ledger(path, JOB)
    assert path.read_bytes() == bytes(whole)


def test_a_ledger_of_another_job_does_not_open(tmp_path: Path) -> None:
    data = written(tmp_path / "ledger")
    with pytest.raises(InvalidInput):
        read_ledger(data, JobId(b"k" * 32))


def test_a_verifier_refuses_a_torn_end(tmp_path: Path) -> None:
    data = written(tmp_path / "ledger")
    with pytest.raises(InvalidInput):
        read_ledger(data[:-1], JOB)


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "step", "step": 1, "uses": [[ADA, 1, 1]]},  # went back
        {"kind": "step", "step": 2, "uses": []},
        {"kind": "step", "step": 2, "uses": [[ADA, -1, 1]]},
        {"kind": "step", "step": 2, "uses": [[ADA, True, 1]]},
        {"kind": "step", "step": 2, "uses": [[ADA, 1, 1], [ADA, 1, 1]]},
        {"kind": "step", "step": 2, "uses": [[BRUNO, 1, 1]]},  # dropped before
        {"kind": "step", "step": 2, "uses": [[ADA, 1, 1]], "more": 1},
        {"kind": "drop", "step": 2, "consents": []},
        {"kind": "drop", "step": 2, "consents": [BRUNO, ADA]},
        {"kind": "start", "attempt": 5, "plan": PLAN},
        {"kind": "resume", "attempt": 5, "step": 1},
        {"kind": "resume", "attempt": 1, "step": 0},  # that is a start
        {"kind": "resume", "attempt": 1, "step": 3},  # never got there
        {"kind": "resume", "attempt": 1, "step": True},
        {"kind": "resume", "attempt": 1, "step": 1, "plan": PLAN},
        {"kind": "start", "attempt": 1, "plan": b""},
        {"kind": "bonus", "step": 2},
    ],
)
def test_an_entry_that_cannot_follow_is_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    data = written(tmp_path / "ledger")
    tally = read_ledger(data, JOB)
    body = encode_cbor({"v": 1, "previous": tally.head, **entry})
    with pytest.raises(InvalidInput):
        tally.read(body)


def test_nothing_precedes_the_start(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", JOB) as ledger:
        with pytest.raises(InvalidInput):
            ledger.commit(0, {ADA: Use(1, 1)})
        with pytest.raises(InvalidInput):
            ledger.resume(1)


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.integers(0, 2**20), st.integers(0, 2**62))
@settings(max_examples=100, deadline=None)
def test_nobody_is_owed_more_than_the_leaf_or_less_than_the_flat_part(flat: int, rate: int, n: int, leaf: int) -> None:
    amount = owed(flat, rate, n, leaf)
    assert min(flat, leaf) <= amount <= leaf
    assert amount == leaf or amount == flat + rate * n


@pytest.mark.parametrize("vector", json.loads((VECTORS / "ledgers.json").read_bytes()))
def test_ledgers_follow_their_vectors(vector: dict[str, Any]) -> None:
    tally = read_ledger(from_hex(vector["ledger"]), JobId(from_hex(vector["job"])))
    assert (tally.entries, to_hex(tally.root())) == (vector["entries"], vector["root"])
    for name, count in vector["owed"].items():
        consent = ConsentId(from_hex(name))
        assert tally.owed(consent) == count
        assert [tally.used(consent).record_epochs, tally.used(consent).tokens] == vector["used"][name]
    assert [to_hex(consent) for consent in sorted(tally.dropped)] == vector["dropped"]
