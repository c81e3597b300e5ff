"""How long a page of the catalogue takes among many datasets, asked as a browser asks: over HTTP, without an account.

    python -m bench.catalogue [--json] [--datasets 100000] [--rounds 200]

The datasets are rows as publishing makes them: owners with one to a few hundred each, five purposes of uneven
popularity, titles and descriptions of common and rare words. The questions are those of the page: the newest, further
pages at any depth, by owner, by purpose, by one word, by several. The goal is for the slowest hundredth of all.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from allod.cursors import write_cursor
from allod.server.app import create_app
from allod.world import World
from bench.figures import figure, tell
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from consent.purposes import PURPOSES
from core.ids import Address
from core.settings import Settings
from vault.catalogue import DatasetRow, TagRow, tags_of, words_of

GOAL = 0.05  # seconds
ORIGIN = "http://127.0.0.1:8600"
COMMON = ["notes", "diary", "letters", "chats", "recipes", "reports", "the", "with", "from", "city", "river", "family"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(world: World, count: int, chance: random.Random) -> list[dict[str, Any]]:
    """That many datasets, and their tags as `Catalogue.add` writes them."""
    rare = [f"word{number}" for number in range(20_000)]
    owners = [chance.randbytes(20) for _ in range(max(1, count // 5))]
    codes = [purpose.code for purpose in PURPOSES]
    rows, tags = [], []
    for number in range(count):
        owner = owners[int(len(owners) * chance.random() ** 3)]
        purposes = [code for place, code in enumerate(codes) if chance.random() < 0.9 / (1 + 3 * place)] or codes[:1]
        title = " ".join([*chance.choices(COMMON, k=3), chance.choice(rare)])
        description = " ".join(chance.choices(COMMON, k=12) + chance.choices(rare, k=4))
        row = {
            "asset": chance.randbytes(32),
            "owner": owner,
            "vault_id": chance.randbytes(32),
            "title": title,
            "publication": "bafyreibxhpeacbzuvuw4o4ghldgaqwbxcxxjmhrvktzbn6hb2n3j2tsb7u",
            "objects": chance.randrange(1, 50),
            "records": chance.randrange(1, 5_000),
            "published": START + timedelta(seconds=37 * number),
            "terms": chance.randbytes(32),
            "purposes": " ".join(purposes),
            "flat": chance.randrange(10**6),
            "per_record_epoch": chance.randrange(10**4),
            "expiry": 2**31,
        }
        rows.append(row)
        found = tags_of(Address(owner), purposes, words_of([title, description]))
        tags += [{"tag": tag, "published": row["published"], "asset": row["asset"]} for tag in found]
    tags.sort(key=lambda tag: (tag["tag"], tag["published"]))  # in the order of the index, which is quicker to write
    with world.engine.begin() as connection:  # as the driver takes it: SQLAlchemy's types cost minutes here
        for table, values in ((DatasetRow.__table__, rows), (TagRow.__table__, tags)):
            names = list(values[0])
            marks = ", ".join("?" * len(names))
            written = [tuple(_written(one[name]) for name in names) for one in values]
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", written)
    return rows


def _written(value: Any) -> Any:
    """A value as SQLAlchemy has SQLite keep it."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value


def questions(rows: list[dict[str, Any]], chance: random.Random) -> dict[str, dict[str, Any]]:
    """One question of each kind."""
    row, other = chance.choice(rows), chance.choice(rows)
    words = row["title"].split()
    deep = {"after": write_cursor(other["published"], other["asset"])}
    code = chance.choice(PURPOSES).code
    return {
        "the newest": {},
        "further down": deep,
        "of an owner": {"owner": "0x" + row["owner"].hex()},
        "for a purpose": {"purpose": code, **deep},
        "with a word": {"q": chance.choice([words[0], words[-1]])},
        "with several": {"q": " ".join(words), "purpose": row["purposes"].split()[0]},
        "with two common words": {"q": " ".join(chance.sample(COMMON, 2)), **deep},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.catalogue", description=__doc__)
    parser.add_argument("--datasets", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    chance = random.Random(7)
    times: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedChain(None) as chain,
        World(Settings(home=Path(folder)), chain=Chain.embedded(chain)) as world,
    ):
        rows = fill(world, asked.datasets, chance)
        app = create_app(world, origins=(ORIGIN,))
        with TestClient(app, base_url=ORIGIN) as client:
            client.get("/v1/datasets")
            for _ in range(asked.rounds):
                for name, wanted in questions(rows, chance).items():
                    start = time.perf_counter()
                    answer = client.get("/v1/datasets", params={"limit": 50, **wanted})
                    times.setdefault(name, []).append(time.perf_counter() - start)
                    if answer.status_code != 200:
                        raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:200]}")
        app.state.place.close()
    everything = [one for some in times.values() for one in some]
    worst = _hundredth(everything)
    where = f"of {asked.datasets:,} datasets"
    figures = [
        figure(f"catalogue page {where}, p99", 1000 * worst, "ms", f"≤ {1000 * GOAL:.0f}", worst <= GOAL),
        *(figure(f"catalogue page {name}, p99", 1000 * _hundredth(some), "ms") for name, some in times.items()),
    ]
    tell("catalogue", figures, as_json=asked.as_json)
    return 0


def _hundredth(some: list[float]) -> float:
    return sorted(some)[max(0, -(-99 * len(some) // 100) - 1)]


if __name__ == "__main__":
    sys.exit(main())
