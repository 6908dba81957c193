"""What a ledger does when log and database disagree, when it crashes, and when there are two of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from scheduler.ledger.halt import Halted
from scheduler.ledger.publisher import Publisher
from scheduler.ledger.sequencer import Identity, Sequencer
from scheduler.storage.engine import Database
from scheduler.storage.payload_archive import PayloadArchive
from scheduler.storage.tile_store import TileStore
from suanli.evidence import merkle, tiles
from suanli.evidence.log_checkpoint import LogCheckpoint, open_log_checkpoint, sign_log_checkpoint
from suanli.evidence.records import Firm, encode_record
from tests.builders.bundles import leaves_source
from tests.builders.database import DatabaseServer, DatabaseUrls
from tests.builders.ledger import ORIGIN, Keys, World, make_keys, running_ledger
from tests.builders.waiting import until


@dataclass
class Installation:
    """A database, keys and a folder for the log."""

    world: World
    urls: DatabaseUrls
    keys: Keys
    store: TileStore
    made: int = 0

    @property
    def archive(self) -> PayloadArchive:
        """What opens the log's entries."""
        place = Path(self.store.place)
        return PayloadArchive(place.with_name(place.name + "-payloads"))

    async def facts(self, count: int) -> None:
        """So many facts for the log."""
        for _ in range(count):
            self.made += 1
            firm = f"firm-{self.made}"
            await self.world.fact(Firm(firm, firm, 1_700_000_000_000), f"firm/{firm}", firm)

    def head(self) -> LogCheckpoint:
        """The published tree head, its signature checked."""
        note = self.store.checkpoint()
        assert note is not None
        return open_log_checkpoint(note, self.keys.vkey)[0]

    async def published(self, size: int) -> bool:
        """Whether the published log has this size."""
        return self.store.checkpoint() is not None and self.head().size == size

    def ledger(self, **changes: object):
        """A ledger of this installation."""
        return running_ledger(self.urls.ledger, self.keys, self.store.place, **changes)

    async def check_tree(self) -> None:
        """The published tiles are the tree over the database's entries, and its root is the signed one."""
        rows = await self.world.rows("SELECT leaf FROM log_entries ORDER BY log_index")
        head = self.head()
        leaves = [merkle.leaf_hash(row[0]) for row in rows][: head.size]
        assert merkle.root(leaves) == head.root
        node = leaves_source(leaves)
        for level, index, width in tiles.hash_tiles(head.size):
            assert self.store.hash_tile(level, index, width) == tiles.hash_tile(level, index, width, node)
        for index, width in tiles.entry_bundles(head.size):
            assert self.store.entries(index, width) == [
                row[0] for row in rows[index * 256 : index * 256 + width]
            ]


@pytest.fixture
async def house(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Installation]:
    keys = make_keys(tmp_path / "keys")
    world = World(database_urls, keys)
    yield Installation(world, database_urls, keys, TileStore(tmp_path / "log"))
    await world.close()


def halted() -> float:
    """The metric that an alarm hangs on."""
    return REGISTRY.get_sample_value("suanli_ledger_halted") or 0.0


async def test_an_empty_log_begins_with_the_operators_keys(house: Installation) -> None:
    async with house.ledger():
        await until(lambda: house.published(1))
        await house.check_tree()
    assert await house.world.rows("SELECT log_index, type, fact FROM log_entries") == [
        (0, "operator_keys", "operator_keys")
    ]


async def test_facts_get_indexes_and_firm_numbers_without_a_gap(house: Installation) -> None:
    for number in range(3):
        await house.world.fact(Firm("firm-x", f"x{number}", 1), f"firm/firm-x/{number}", "firm-x")
    await house.facts(2)
    async with house.ledger():
        await until(lambda: house.published(6))
    rows = await house.world.rows("SELECT log_index, firm_id, firm_seq FROM log_entries ORDER BY log_index")
    assert rows == [
        (0, None, None),
        (1, "firm-x", 1),
        (2, "firm-x", 2),
        (3, "firm-x", 3),
        (4, "firm-1", 1),
        (5, "firm-2", 1),
    ]
    assert await house.world.rows("SELECT count(*) FROM evidence_intake") == [(0,)]


async def test_a_fact_that_is_logged_already_is_not_logged_again(house: Installation) -> None:
    await house.facts(1)
    async with house.ledger():
        await until(lambda: house.published(2))
        await house.world.fact(Firm("firm-1", "again", 1), "firm/firm-1", "firm-1")
        await house.facts(1)
        await until(lambda: house.published(3))
    assert await house.world.rows("SELECT count(*) FROM evidence_intake") == [(0,)]


async def test_what_cannot_be_logged_stays_and_holds_nobody_up(house: Installation) -> None:
    record = Firm("firm-1", "firm-1", 1)
    await house.world.fact(
        record, "forged", "firm-1", signature=b"\0" * 64, producer_key_id=house.keys.controller.key_id
    )
    await house.world.fact(record, "other firm", "firm-2")
    await house.facts(1)
    async with house.ledger():
        await until(lambda: house.published(2))
        await until(lambda: REGISTRY.get_sample_value("suanli_ledger_intake_refused") == 2)
    assert await house.world.rows("SELECT fact FROM evidence_intake ORDER BY intake_id") == [
        ("forged",),
        ("other firm",),
    ]


async def test_a_long_log_has_full_tiles_and_no_partial_ones_behind_them(house: Installation) -> None:
    # One statement: 700 transactions would take longer than the ledger does.
    await house.world.execute(
        "INSERT INTO evidence_intake (type, firm_id, body, fact)"
        " SELECT 'firm', 'firm-' || n, convert_to(replace(:body, '?', 'firm-' || n), 'UTF8'), 'firm/' || n"
        " FROM generate_series(1, 700) AS n",
        body=encode_record(Firm("?", "n", 1)).decode(),
    )
    async with house.ledger():
        await until(lambda: house.published(701), timeout_s=60)
        await house.facts(1)
        await until(lambda: house.published(702))
        await house.check_tree()
    assert not (house.store.place / "tile/0/000.p").exists()
    assert not (house.store.place / "tile/entries/001.p").exists()
    assert (house.store.place / "tile/0/002.p/190").exists()


async def sequence_without_publishing(house: Installation) -> list[bytes]:
    """What a ledger has done when it dies right after its commit."""
    database = Database(house.urls.ledger, "test-ledger")
    identity = Identity(ORIGIN, house.keys.log, house.keys.controller.public_key, os.urandom)
    size = (await house.world.rows("SELECT count(*) FROM log_entries"))[0][0]
    async with database.transaction() as session:
        batch = await Sequencer(identity, size).sequence(session, 1)
    await database.dispose()
    return list(batch.leaves)


async def test_a_crash_between_commit_and_tiles_continues_the_same_tree(house: Installation) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    await house.facts(2)
    leaves = await sequence_without_publishing(house)
    assert len(leaves) == 2
    async with house.ledger():
        await until(lambda: house.published(6))
        await house.check_tree()
    assert house.store.entries(0, 6)[4:] == leaves


async def no_guard(_session: object) -> None:
    """Nobody else leads in these tests."""


@asynccontextmanager
async def recovered(house: Installation) -> AsyncIterator[tuple[Publisher, Database]]:
    """A publisher that has recovered, driven by the test step by step."""
    database = Database(house.urls.ledger, "test-ledger")
    try:
        publisher = Publisher(house.store, house.archive, ORIGIN, house.keys.log)
        await publisher.recover(database, no_guard)
        yield publisher, database
    finally:
        await database.dispose()


async def publish_without_commit(publisher: Publisher, database: Database, note: bytes) -> None:
    """The checkpoint file is public and the process dies before the database knows."""
    with suppress(ConnectionError):
        async with database.transaction() as session:
            await publisher.publish(session, note, 1)
            raise ConnectionError


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["tiles", "tiles and signature", "checkpoint file"])
async def test_a_crash_at_any_step_of_publishing_continues_the_same_tree(
    house: Installation, steps: int
) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    await house.facts(2)
    await sequence_without_publishing(house)
    async with recovered(house) as (publisher, database):
        publisher.write_tiles()
        if steps >= 2:
            note = publisher.sign()
        if steps == 3:
            await publish_without_commit(publisher, database, note)
    assert house.head().size == (6 if steps == 3 else 4)
    assert await house.world.rows("SELECT note FROM log_checkpoints WHERE size = 6") == []
    async with house.ledger():
        await until(lambda: house.published(6))
        await house.facts(1)
        await until(lambda: house.published(7))
        await house.check_tree()
    assert len(await house.world.rows("SELECT note FROM log_checkpoints WHERE size IN (6, 7)")) >= 1


async def test_a_lost_folder_is_written_again_with_the_same_root(house: Installation, tmp_path: Path) -> None:
    await house.facts(5)
    async with house.ledger():
        await until(lambda: house.published(6))
    root = house.head().root
    house.store = TileStore(tmp_path / "new disk")
    async with house.ledger():
        await until(lambda: house.published(6))
        await house.check_tree()
    assert house.head().root == root


async def run_until_halted(house: Installation) -> None:
    """Starts a ledger that must halt, and stay up without ever being ready."""
    async with house.ledger() as ledger:
        await until(lambda: halted() == 1.0)
        await asyncio.sleep(0)
        assert not ledger.task.done()
        assert not ledger.announced.is_set()


@pytest.fixture
def calm() -> None:
    """The metric begins at 0, whatever tests ran before."""
    from scheduler.ledger.metrics import HALTED

    HALTED.set(0)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM log_entries WHERE log_index = (SELECT max(log_index) FROM log_entries)",
        "DELETE FROM log_entries WHERE log_index >= 2",
        "TRUNCATE log_entries CASCADE",
        "TRUNCATE log_entries, log_checkpoints CASCADE",
    ],
    ids=["the newest", "many", "all", "all and the checkpoints"],
)
async def test_published_entries_that_the_database_lost_are_read_back(
    house: Installation, damage: str
) -> None:
    await house.facts(5)
    async with house.ledger():
        await until(lambda: house.published(6))
    rows = "SELECT log_index, type, leaf, salt, payload, fact, firm_id, firm_seq, start_ms FROM log_entries"
    before = await house.world.rows(f"{rows} ORDER BY log_index")
    root = house.head().root
    await house.world.execute(damage)
    await house.facts(2)
    async with house.ledger():
        await until(lambda: house.published(8))
        await house.check_tree()
    assert (await house.world.rows(f"{rows} ORDER BY log_index"))[:6] == before
    leaves = [merkle.leaf_hash(row[2]) for row in before]
    assert merkle.root(leaves) == root


async def test_an_archive_that_holds_another_payload_halts_the_ledger(
    house: Installation, calm: None
) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    lines = [house.archive.read(0)[n].encode() for n in range(4)]
    changed = house.archive.read(0)[2]
    lines[3] = changed.encode().replace(b'"index":2', b'"index":3')
    house.archive.replace(0, lines)
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 3")
    await run_until_halted(house)
    assert house.head().size == 4


async def test_a_line_that_was_added_behind_the_right_one_keeps_no_ledger_from_its_entries(
    house: Installation, calm: None
) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    lines = [house.archive.read(0)[n].encode() for n in range(4)]
    other = lines[2].replace(b'"index":2', b'"index":3')
    more_firms = lines[3].replace(b'"segment_firms":[]', b'"segment_firms":[null]')
    assert len({*lines, other, more_firms}) == 6
    house.archive.replace(0, [*lines[:3], more_firms, lines[3] + more_firms + other])
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 3")
    async with house.ledger():
        await house.facts(1)
        await until(lambda: house.published(5))
        await house.check_tree()
    assert halted() == 0.0


async def test_a_lost_archive_is_written_again(house: Installation) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    before = house.archive.read(0)
    assert sorted(before) == [0, 1, 2, 3]
    house.archive.replace(0, [])
    assert house.archive.read(0) == {}
    async with house.ledger():
        await house.facts(1)
        await until(lambda: house.published(5))
    after = house.archive.read(0)
    assert {index: after[index] for index in before} == before
    assert sorted(after) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM log_entries WHERE log_index = 2",
        "UPDATE log_entries SET leaf = leaf || ' ' WHERE log_index = 2",
    ],
    ids=["one in the middle", "one changed"],
)
async def test_a_database_with_other_entries_than_were_published_halts_the_ledger(
    house: Installation, calm: None, damage: str
) -> None:
    await house.facts(5)
    async with house.ledger():
        await until(lambda: house.published(6))
    before = house.head()
    await house.world.execute(damage)
    await house.facts(2)
    await run_until_halted(house)
    assert house.head() == before
    signed = await house.world.rows("SELECT coalesce(max(size), 6) FROM log_checkpoints")
    assert signed == [(6,)]


async def test_rows_removed_under_a_running_ledger_halt_it_before_it_signs_anything(
    house: Installation, calm: None
) -> None:
    await house.facts(5)
    async with house.ledger() as ledger:
        await until(lambda: house.published(6))
        before = house.head()
        await house.world.execute("DELETE FROM log_entries WHERE log_index >= 4")
        await house.facts(1)
        await until(lambda: halted() == 1.0)
        assert not ledger.task.done()
    assert house.head() == before


async def test_a_row_changed_under_a_running_ledger_is_found_by_comparing_with_the_tiles(
    house: Installation, calm: None
) -> None:
    await house.facts(5)
    async with house.ledger():
        await until(lambda: house.published(6))
        await house.world.execute("UPDATE log_entries SET leaf = leaf || ' ' WHERE log_index = 3")
        await until(lambda: halted() == 1.0)


async def test_a_checkpoint_of_another_key_halts_the_ledger(house: Installation, calm: None) -> None:
    await house.facts(1)
    async with house.ledger():
        await until(lambda: house.published(2))
    head = house.head()
    forged = sign_log_checkpoint(head, house.keys.controller.public_key, house.keys.controller.sign)
    (house.store.place / "checkpoint").write_bytes(forged.encode())
    await run_until_halted(house)


async def test_a_checkpoint_that_vanishes_under_a_running_ledger_halts_it(
    house: Installation, calm: None
) -> None:
    await house.facts(1)
    async with house.ledger():
        await until(lambda: house.published(2))
        (house.store.place / "checkpoint").unlink()
        await house.facts(1)
        await until(lambda: halted() == 1.0)
    assert house.store.checkpoint() is None


async def test_a_second_tree_of_the_same_size_is_never_signed(house: Installation, calm: None) -> None:
    """A database restored to before its newest entries, and filled with others up to the same size."""
    await house.facts(2)
    async with house.ledger():
        await until(lambda: house.published(3))
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 2")
    await house.facts(1)
    await sequence_without_publishing(house)
    assert await house.world.rows("SELECT count(*) FROM log_entries") == [(3,)]
    with pytest.raises(Halted, match="not those published"):
        async with recovered(house):
            pass


async def test_of_two_ledgers_one_leads_and_the_other_continues_the_same_tree(house: Installation) -> None:
    async def leads(holder: str) -> bool:
        return await house.world.rows("SELECT holder FROM leaders WHERE role = 'ledger'") == [(holder,)]

    await house.facts(2)
    async with house.ledger(holder="second") as second:
        await until(lambda: house.published(3))
        async with house.ledger(holder="other") as other:
            await until(other.announced.is_set)
            assert await leads("second")
            await house.facts(2)
            await until(lambda: house.published(5))
            second.stop.set()
            await second.task
            await until(lambda: leads("other"))
            await house.facts(2)
            await until(lambda: house.published(7))
            await house.check_tree()
    assert await house.world.rows("SELECT term FROM leaders WHERE role = 'ledger'") == [(2,)]


async def test_a_ledger_whose_connections_are_cut_leads_again(
    house: Installation, database_server: DatabaseServer, database_urls: DatabaseUrls
) -> None:
    await house.facts(1)
    async with house.ledger() as ledger:
        await until(lambda: house.published(2))
        for _ in range(3):
            database_server.kill_connections(database_urls.name, "l%")
            await house.facts(1)
            size = house.made + 1
            await until(lambda size=size: house.published(size))
        await house.check_tree()
        assert not ledger.task.done()


async def test_many_writers_at_once_lose_and_repeat_nothing(house: Installation) -> None:
    async def write(names: Sequence[str]) -> None:
        for name in names:
            await house.world.fact(Firm(name, name, 1), f"firm/{name}", name)

    names = [[f"firm-{writer}-{n}" for n in range(20)] for writer in range(5)]
    async with house.ledger():
        await asyncio.gather(*(write(mine) for mine in names))
        await until(lambda: house.published(101))
        await house.check_tree()
    assert await house.world.rows(
        "SELECT count(DISTINCT fact), count(*), max(log_index) FROM log_entries"
    ) == [(101, 101, 100)]
