"""The one door: shares open for this job only, keys meet their commitments, records are the owner's exactly."""

from __future__ import annotations

import dataclasses

import pytest

from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import Asset
from finetune.licence import Licence
from tests.job.by_hand import HandJob, make_hand_job
from vault.cid import RAW
from vault.hpke import hpke_generate
from vault.readers import Record

FILES = {"one": b"".join(b"Ada notes line %d here.\n" % i for i in range(5)), "two": b"A short text of its own."}


@pytest.fixture
def job() -> HandJob:
    return make_hand_job((FILES, 6), ({"b": b"Bruno wrote only this."}, 1))


def test_released_shares_open_exactly_the_owners_records(job: HandJob) -> None:
    access = job.opened(job.owners[0])
    texts = []
    for manifest in access.objects:
        for record in access.records(manifest.object_id):
            assert isinstance(record, Record)
            texts.append(record.text)
    assert sorted(texts) == sorted([*FILES["one"].decode().splitlines(), FILES["two"].decode()])


def test_any_two_of_the_three_keepers_suffice(job: HandJob) -> None:
    for keepers in ((1, 2), (1, 3), (2, 3), (1, 2, 3)):
        access = job.access(job.owners[0])
        assert access.unlock(job.private, job.keepers.release(access, job.order, keepers=keepers)) == {}
        assert len(access.objects) == 2


def test_one_share_opens_nothing(job: HandJob) -> None:
    access = job.access(job.owners[0])
    closed = access.unlock(job.private, job.keepers.release(access, job.order, keepers=(2,)))
    assert set(closed) == set(job.owners[0].licence.object_ids)
    assert access.objects == ()
    with pytest.raises(NotFound):
        access.records(job.owners[0].licence.object_ids[0])


def test_nothing_opens_with_another_jobs_key(job: HandJob) -> None:
    access = job.access(job.owners[0])
    other, _ = hpke_generate()
    assert len(access.unlock(other, job.keepers.release(access, job.order))) == 2
    assert access.objects == ()


def test_a_reply_to_another_job_is_useless(job: HandJob) -> None:
    access = job.access(job.owners[0])
    elsewhere = dataclasses.replace(job.order, lane=1)
    closed = access.unlock(job.private, job.keepers.release(access, elsewhere))
    assert all("does not open for this job" in reason for reason in closed.values())
    assert len(closed) == 2


def test_a_corrupt_share_names_its_keeper_and_a_third_one_helps(job: HandJob) -> None:
    access = job.access(job.owners[0])
    released = job.keepers.release(access, job.order, keepers=(1, 2, 3))
    for replies in released.values():
        keeper, sealed = replies[1]
        replies[1] = (keeper, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        with pytest.raises(Corrupted, match="Keeper 2"):
            access.share_opens(job.private, job.owners[0].licence.object_ids[0], *replies[1])
    assert access.unlock(job.private, released) == {}
    broken = {object_id: replies[:2] for object_id, replies in released.items()}
    assert all("Keeper 2" in reason for reason in job.access(job.owners[0]).unlock(job.private, broken).values())


def test_shares_of_one_object_do_not_open_another(job: HandJob) -> None:
    access = job.access(job.owners[0])
    released = job.keepers.release(access, job.order)
    first, second = released
    assert len(access.unlock(job.private, {first: released[second], second: released[first]})) == 2


def test_one_keepers_share_twice_is_one_share(job: HandJob) -> None:
    access = job.access(job.owners[0])
    released = job.keepers.release(access, job.order, keepers=(1,))
    doubled = {object_id: replies * 2 for object_id, replies in released.items()}
    assert len(access.unlock(job.private, doubled)) == 2


def test_another_owners_documents_do_not_pass(job: HandJob) -> None:
    mine, theirs = job.owners[0].licence, job.owners[1].licence
    for change in (
        {"terms_bytes": theirs.terms_bytes},
        {"header_bytes": theirs.header_bytes},
        {"manifests": theirs.manifests},
        {"manifests": mine.manifests[:1]},
        {"manifests": mine.manifests[::-1]},
        {"table": theirs.table},
        {"consent": dataclasses.replace(mine.consent, asset=Asset(bytes(32)))},
    ):
        changed = dataclasses.replace(mine, **change)  # type: ignore[arg-type]
        with pytest.raises((Corrupted, InvalidInput)):
            job.access(dataclasses.replace(job.owners[0], licence=changed))


def test_a_missing_or_changed_block_ends_the_object_there(job: HandJob) -> None:
    access = job.opened(job.owners[0])
    for manifest in access.objects:
        assert manifest.payload.codec == RAW
        job.blocks.delete(manifest.payload)
        with pytest.raises(NotFound):
            list(access.records(manifest.object_id))


def test_a_closed_door_forgets_its_keys(job: HandJob) -> None:
    access = job.opened(job.owners[0])
    object_id = access.objects[0].object_id
    access.close()
    with pytest.raises(NotFound):
        access.records(object_id)


def test_a_licence_comes_back_from_its_bytes(job: HandJob) -> None:
    licence = job.owners[0].licence
    again = Licence.decode(licence.encode())
    again.check()
    assert again.encode() == licence.encode()
    with pytest.raises(InvalidInput):
        Licence.decode(licence.encode()[:-1])
