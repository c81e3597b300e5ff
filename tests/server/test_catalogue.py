"""The catalogue: who finds what, page by page, and under which terms a dataset is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, update
from starlette.testclient import TestClient

from allod.listing import complete_listings, publication_of
from allod.trainer import licence_for
from allod.world import World
from consent.terms import Terms
from core.database import transaction
from core.encoding import to_hex
from core.errors import NotFound
from tests.server.market import CARD, Owner, ok, refused, work
from tests.server.people import Person
from vault.catalogue import DatasetRow, PublicationRow, TagRow


@pytest.fixture
def owner(world: World, ada: Person) -> Owner:
    return Owner(world, ada)


def test_registering_twice_is_one_operation_and_other_terms_are_added_but_not_shown(
    world: World, owner: Owner, anonymous: TestClient
) -> None:
    made = owner.prepared()
    first, again = ok(owner.post_dataset(made), 202), ok(owner.post_dataset(made), 202)
    assert first["id"] == again["id"]
    work(world)
    assert ok(owner.post_dataset(made), 202)["state"] == "final"
    dear = owner.publish(owner.terms(flat=9_999))
    assert dear.asset == made.asset
    [listed] = ok(anonymous.get("/v1/datasets"))["data"]
    assert listed["price"]["flat"] == "1000", "what one trainer agreed to is not everybody's price"
    assert listed["terms_hash"] == to_hex(made.publication.terms.hash)
    for one in (made, dear):
        assert publication_of(world, made.asset, one.publication.terms.hash).terms == one.publication.terms
    assert publication_of(world, made.asset).terms == made.publication.terms
    consent = owner.consent(dear)
    assert licence_for(world, consent).terms == dear.publication.terms, "quotes and jobs find the consent's own terms"
    with pytest.raises(NotFound, match="not known here"):
        publication_of(world, made.asset, b"?" * 32)


def test_the_catalogue_is_found_by_words_purpose_and_owner_page_by_page(
    world: World, owner: Owner, anonymous: TestClient, person: Callable[..., Person]
) -> None:
    other = Owner(world, person("eve"))
    names = ["Ferry times", "Ferry fares", "Bus times"]
    for name in names:
        owner.publish(card={**CARD, "title": name}, text=f"{name}\n")
    other.publish(owner_terms(other, "commercial-research"), card={**CARD, "title": "Fähre ferry"}, text="Eve's\n")

    def titles(**asked: Any) -> list[str]:
        return [one["title"] for one in ok(anonymous.get("/v1/datasets", params=asked))["data"]]

    assert titles() == ["Fähre ferry", "Bus times", "Ferry fares", "Ferry times"]
    assert titles(q="FERRY times") == ["Ferry times"]
    assert titles(q="fähre") == ["Fähre ferry"]
    assert titles(q="leaves") == ["Fähre ferry", "Bus times", "Ferry fares", "Ferry times"], "the description counts"
    assert titles(q="ferry", owner=owner.person.address) == ["Ferry fares", "Ferry times"]
    assert titles(purpose="commercial-research") == ["Fähre ferry"]
    assert titles(purpose="service-provision", q="ferry") == []
    assert titles(q="%") == titles(), "what holds no word narrows nothing down"
    page = ok(anonymous.get("/v1/datasets", params={"limit": 3}))
    assert (len(page["data"]), page["has_more"]) == (3, True)
    rest = ok(anonymous.get("/v1/datasets", params={"limit": 3, "after": page["next_after"]}))
    assert ([one["title"] for one in rest["data"]], rest["has_more"]) == (["Ferry times"], False)
    for cursor in ("x", "9" * 18 + "-" + "0" * 64, "1-00"):
        refused(anonymous.get("/v1/datasets", params={"after": cursor}), 422, "cursor")
    refused(anonymous.get("/v1/datasets", params={"purpose": "world-domination"}), 422, "Choose one of")
    refused(anonymous.get("/v1/datasets/0x" + "0" * 64), 404, "listed here")


def owner_terms(owner: Owner, *purposes: str) -> Terms:
    return owner.terms(purposes=list(purposes))


def test_a_catalogue_of_an_earlier_version_is_completed_from_its_blocks(world: World, owner: Owner) -> None:
    made = owner.publish()
    lost = owner.publish(text="Lost.\n")
    nothing = dict.fromkeys(("terms", "purposes", "flat", "per_record_epoch", "expiry"))
    with transaction(world.engine) as session:
        session.execute(update(DatasetRow).values(**nothing))
        session.execute(delete(PublicationRow))
        session.execute(delete(TagRow))
    assert publication_of(world, made.asset, made.publication.terms.hash).terms == made.publication.terms
    world.blocks.delete(lost.cid)
    assert complete_listings(world) == 1
    row = world.catalogue.get(made.asset)
    assert (row.flat, row.terms) == (1_000, made.publication.terms.hash)
    assert world.catalogue.publication(made.asset, made.publication.terms.hash) is not None
    assert [row.asset for row in world.catalogue.incomplete()] == [lost.asset]
    with transaction(world.engine) as session:
        session.execute(delete(DatasetRow).where(DatasetRow.asset == lost.asset))
    assert complete_listings(world) == 0
