"""What the archive says beside what the tree commits to is believed only as far as it follows from that."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.ledger.metrics import HALTED
from scheduler.storage.tile_store import TileStore
from suanli.evidence.records import AdministrativeAct
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import Agent, Stay, UsageStream, make_pki, running_gateway
from tests.builders.ledger import FIRM, World, make_keys
from tests.builders.waiting import until
from tests.integration.test_ledger_recovery import Installation, halted, run_until_halted


@pytest.fixture
async def house(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Installation]:
    HALTED.set(0)
    keys = make_keys(tmp_path / "keys")
    world = World(database_urls, keys)
    yield Installation(world, database_urls, keys, TileStore(tmp_path / "log"))
    await world.close()


Change = Callable[[dict[str, Any]], None]


def change_line(house: Installation, index: int, change: Change) -> None:
    """Edit one line of the archive, as whoever may write there can."""
    entries = house.archive.read(0)
    lines = [entries[n].encode() for n in sorted(entries)]
    line = json.loads(lines[index])
    change(line)
    lines[index] = json.dumps(line).encode() + b"\n"
    house.archive.replace(0, lines)


def to(**fields: object) -> Change:
    """Sets fields of a line."""
    return lambda line: line.update(fields)


@pytest.mark.parametrize(
    "change",
    [
        to(firm_id=None),
        to(firm_id="firm-1"),
        to(firm_id="firm-evil"),
        to(fact="firm/firm-5"),
        to(fact="firm/firm-1"),
        to(fact=5),
        to(firm_id=["x"]),
        to(fact="a\0b"),
        to(fact="\ud800"),
        to(fact="x" * 1_000_000),
        to(segment_firms="firm-1"),
    ],
    ids=[
        "nobody's", "another firm's", "an unknown firm's", "a later fact", "an earlier fact", "a number", "a list",
        "a control character", "half a character", "very long", "text for a list",
    ],
)  # fmt: skip
async def test_a_line_that_says_other_than_its_record_halts_the_ledger(
    house: Installation, change: Change
) -> None:
    await house.facts(3)
    async with house.ledger():
        await until(lambda: house.published(4))
    change_line(house, 3, change)
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 3")
    await house.facts(2)
    await run_until_halted(house)
    assert house.head().size == 4
    assert await house.world.rows("SELECT fact FROM evidence_intake ORDER BY intake_id") == [
        ("firm/firm-4",),
        ("firm/firm-5",),
    ]


def act(actor: str) -> AdministrativeAct:
    """One whose name follows from nothing in it."""
    return AdministrativeAct("configuration_applied", actor, "operator", "1 objects of 1", 1)


async def test_an_act_that_waits_is_not_dropped_for_an_archived_one_that_was_given_its_name(
    house: Installation,
) -> None:
    await house.world.fact(act("a"), "configuration/1")
    async with house.ledger():
        await until(lambda: house.published(2))
    change_line(house, 1, to(fact="configuration/2"))
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 1")
    await house.world.fact(act("b"), "configuration/2")
    await run_until_halted(house)
    assert await house.world.rows("SELECT fact FROM evidence_intake") == [("configuration/2",)]


async def test_two_acts_that_the_archive_gives_one_name_halt_the_ledger_and_not_its_process_for_ever(
    house: Installation,
) -> None:
    """Each could be called so; that both are, the database does not take."""
    await house.world.fact(act("a"), "configuration/1")
    await house.world.fact(act("b"), "configuration/2")
    async with house.ledger():
        await until(lambda: house.published(3))
    change_line(house, 2, to(fact="configuration/1"))
    await house.world.execute("DELETE FROM log_entries WHERE log_index = 2")
    await run_until_halted(house)
    assert await house.world.rows("SELECT max(log_index) FROM log_entries") == [(1,)]


SEGMENTS = "SELECT log_index, n, firm_id, allocation_id, device_id FROM window_segments ORDER BY log_index, n"


async def lose_a_window(house: Installation, folder: Path, *, granted: bool = True) -> int:
    """Log a window of a firm's allocation, and let the database lose it. Returns its index.

    Not `granted`: the ledger refuses the entry that says that it was.
    """
    world, agent = house.world, Agent()
    async with running_gateway(house.urls.gateway, folder, make_pki(folder / "pki")) as gateway:
        await world.configure()
        await agent.enrol(gateway, await world.join_token())
        device = agent.devices[0].device_id
        granted_ms = agent.at_ms
        await world.allocate("al-1", agent.node_id, [device], granted_ms)
        if not granted:
            await world.execute("UPDATE evidence_intake SET signature = body WHERE fact LIKE 'allocation/%'")
        agent.stays.append(Stay(device, granted_ms, granted_ms + 60_000, "al-1"))
        async with house.ledger(), agent.stubs(gateway) as stubs:
            stream = UsageStream(stubs)
            await stream.send(agent.windows_until(granted_ms + 2 * agent.window_ms))
            await stream.until_acknowledged(agent.seq)
            await stream.close()

            async def logged() -> bool:
                windows = "SELECT max(log_index) + 1 FROM log_entries WHERE type = 'usage_window'"
                ((stop,),) = await world.rows(windows)
                return stop is not None and await house.published(stop)

            await until(logged)
    index = house.head().size - 1
    await world.execute("DELETE FROM charges")
    await world.execute("DELETE FROM window_segments WHERE log_index = :index", index=index)
    await world.execute("DELETE FROM log_entries WHERE log_index = :index", index=index)
    return index


@pytest.mark.parametrize(
    "change",
    [to(segment_firms=["firm-evil", "firm-evil"]), to(firm_id=FIRM), to(fact="window/other/1")],
    ids=["another firm's segment", "a firm's window", "another window"],
)
async def test_a_window_that_the_archive_gives_to_others_halts_the_ledger(
    house: Installation, tmp_path: Path, change: Change
) -> None:
    index = await lose_a_window(house, tmp_path)
    change_line(house, index, change)
    await run_until_halted(house)


@pytest.mark.parametrize("forgotten", [False, True], ids=["as archived", "archived as nobody's"])
async def test_a_restored_segment_is_of_the_firm_that_the_log_granted_its_devices_to(
    house: Installation, tmp_path: Path, forgotten: bool
) -> None:
    index = await lose_a_window(house, tmp_path)
    assert set(house.archive.read(0)[index].segment_firms) == {FIRM, None}
    if forgotten:
        change_line(house, index, to(segment_firms=[None, None]))
    size = house.head().size
    async with house.ledger():
        await house.facts(1)
        await until(lambda: house.published(size + 1))
    found = await house.world.rows(SEGMENTS)
    assert [row[2:4] for row in found if row[0] == index] == [(FIRM, "al-1")]
    assert halted() == 0.0


async def test_a_restored_segment_of_an_allocation_whose_grant_was_refused_is_shown_to_no_firm(
    house: Installation, tmp_path: Path
) -> None:
    index = await lose_a_window(house, tmp_path, granted=False)
    assert set(house.archive.read(0)[index].segment_firms) == {FIRM, None}
    size = house.head().size
    async with house.ledger():
        await house.facts(1)
        await until(lambda: house.published(size + 1))
    found = await house.world.rows(SEGMENTS)
    assert {row[2] for row in found if row[0] == index} == {None}
    assert halted() == 0.0
