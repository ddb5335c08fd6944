"""Tests of reading shards one by one."""

from collections.abc import Iterator
from typing import Any

import pytest

from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.reading import open_reader
from support.stores import Store


@pytest.fixture
def shards(store: Store) -> list[Shard]:
    store.registry.add_node("GFZ", "")
    for code in ("one", "two"):
        store.shards.create(code, f"/{code}", "GFZ", open_paths=False)
        with store.database.transaction(write=True) as connection:
            store.shards.storage.enter(connection, code)
            columns = (
                "tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_spans"
            )
            values = ["GE", "APE", "", "BHZ", "D", 20, "2020-01-01", "2020-01-02", 1]
            if store.database.dialect == "sqlite":
                columns += ", sh_code"
                values.append(code)
            connection.cursor().execute(
                store.database.prepare(
                    f"INSERT INTO timeline ({columns}) VALUES ({', '.join(f':v{n}' for n in range(len(values)))})"
                ),
                {f"v{n}": value for n, value in enumerate(values)},
            )
    return store.shards.read_all()


def test_each_shard_has_its_rows(store: Store, shards: list[Shard]) -> None:
    sql = store.database.prepare("SELECT sh_code, tl_station FROM timeline WHERE sh_code = :code")

    def query(connection: Any, shard: Shard) -> Iterator[tuple[Any, ...]]:
        return store.database.stream(connection, sql, {"code": shard.code})

    with open_reader(store.database) as reader:
        found = {shard.code: list(rows) for shard, rows in reader.read(shards, query)}
        assert (reader.headers, reader.members) == ({}, {})
    assert found == {"one": [("one", "APE")], "two": [("two", "APE")]}
