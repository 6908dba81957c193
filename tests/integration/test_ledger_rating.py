"""When logged segments become charges, and what happens when an end is said too late."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import psycopg
import pytest
from prometheus_client import REGISTRY

from scheduler.services.usage import Wanted, usage_report
from suanli.evidence.records import Firm
from tests.builders.database import DatabaseServer, DatabaseUrls, as_superuser
from tests.builders.gateway import Agent, RunningGateway, Stay, UsageStream, now_ms, running_gateway
from tests.builders.ledger import FIRM, Keys, World, make_keys, running_ledger
from tests.builders.waiting import until

PRICE = Fraction(13_500_000_000, 3_600_000 * 10_000_000)
"""Fen per millisecond of the builders' price."""


@dataclass
class House:
    """A gateway and one node; the ledger is started by the test."""

    world: World
    urls: DatabaseUrls
    keys: Keys
    gateway: RunningGateway
    folder: Path
    agent: Agent

    @property
    def device(self) -> str:
        """The device that works."""
        return self.agent.devices[0].device_id

    def ledger(self, **changes: object):
        """A ledger of this installation."""
        return running_ledger(self.urls.ledger, self.keys, self.folder / "log", **changes)

    async def grant(self, allocation_id: str = "al-1") -> int:
        """The first device is given away from a second after enrolment, and in use from then on."""
        granted_ms = self.agent.at_ms + 1_000
        await self.world.allocate(allocation_id, self.agent.node_id, [self.device], granted_ms)
        self.agent.stays.append(Stay(self.device, granted_ms, granted_ms + 60_000, allocation_id))
        return granted_ms

    async def end(self, at_ms: int, allocation_id: str = "al-1") -> None:
        """The controller says that it is free again."""
        await self.world.allocation_event(
            "ended", allocation_id, at_ms, node_id=self.agent.node_id, devices=[self.device]
        )

    async def upload(self) -> None:
        """All windows so far are stored."""
        async with self.agent.stubs(self.gateway) as stubs:
            stream = UsageStream(stubs)
            await stream.send(self.agent.windows_until(now_ms()))
            await stream.until_stored(self.agent.seq)
            await stream.close()

    async def charged(self) -> tuple[int, Fraction]:
        """Billable milliseconds and exact fen of all charges together."""
        rows = await self.world.rows(
            "SELECT billable_ms, amount_fen_numerator, amount_fen_denominator FROM charges"
        )
        return sum(row[0] for row in rows), sum(
            (Fraction(int(row[1]), int(row[2])) for row in rows), Fraction(0)
        )

    async def has_charged(self, billable_ms: int) -> bool:
        """Whether charges come to this time, at the builders' price."""
        return await self.charged() == (billable_ms, billable_ms * PRICE)


@pytest.fixture
async def house(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    keys = make_keys(tmp_path / "keys")
    world = World(database_urls, keys)
    agent = Agent()
    await world.configure()
    async with running_gateway(database_urls.gateway, tmp_path) as gateway:
        await agent.enrol(gateway, await world.join_token())
        yield House(world, database_urls, keys, gateway, tmp_path, agent)
    await world.close()


@asynccontextmanager
async def priced(house: House) -> AsyncIterator[House]:
    """With a price that covers the test's time."""
    await house.world.set_price((now_ms() - 60_000) // 300_000 * 300_000)
    yield house


async def test_use_is_charged_from_grant_to_end_and_no_further(house: House) -> None:
    async with priced(house), house.ledger():
        granted_ms = await house.grant()
        await house.end(granted_ms + 4_321)
        await house.upload()
        await until(lambda: house.has_charged(4_321))


async def test_an_open_allocation_is_charged_once_its_windows_have_settled(house: House) -> None:
    async with priced(house), house.ledger(settle_ms=3_600_000) as patient:
        granted_ms = await house.grant()
        await house.upload()
        await until(lambda: _all_logged(house))
        assert await house.charged() == (0, 0)
        patient.stop.set()
        await patient.task
    async with house.ledger(settle_ms=0, holder="impatient"):
        await until(lambda: house.has_charged(house.agent.at_ms - granted_ms))


async def _all_logged(house: House) -> bool:
    rows = await house.world.rows("SELECT count(*) FROM log_entries WHERE type = 'usage_window'")
    return rows == [(house.agent.seq,)]


async def test_what_was_charged_beyond_a_late_end_is_taken_back(house: House) -> None:
    async with priced(house), house.ledger(settle_ms=0):
        granted_ms = await house.grant()
        await house.upload()
        await until(lambda: house.has_charged(house.agent.at_ms - granted_ms))
        before = await house.world.rows("SELECT charge_id, billable_ms FROM charges ORDER BY charge_id")

        await house.end(granted_ms + 2_500)
        await until(lambda: house.has_charged(2_500))
        kept = await house.world.rows(
            "SELECT charge_id, billable_ms FROM charges WHERE corrects IS NULL ORDER BY charge_id"
        )
        assert kept == before
        wrong = await house.world.rows(
            "SELECT count(*) FROM charges AS c JOIN charges AS o ON o.charge_id = c.corrects"
            " WHERE c.billable_ms >= 0 OR c.to_ms <> o.to_ms OR o.billable_ms + c.billable_ms < 0"
            " OR o.live_ms + c.live_ms < 0 OR o.worked_ms + c.worked_ms < 0"
        )
        assert wrong == [(0,)]
        async with house.world.api.read() as session:
            report = await usage_report(session, Wanted(granted_ms, house.agent.at_ms, FIRM))
        [line] = report.firms[0].lines
        assert (line["held_ms"], line["billable_ms"]) == (2_500, 2_500)


async def test_a_ledger_that_starts_again_charges_nothing_twice(house: House) -> None:
    async with priced(house):
        async with house.ledger():
            granted_ms = await house.grant()
            await house.end(granted_ms + 3_000)
            await house.upload()
            await until(lambda: house.has_charged(3_000))
        count = await house.world.rows("SELECT count(*) FROM charges")
        async with house.ledger(holder="second"):
            await house.upload()
            await until(lambda: _all_logged(house))
            await until(lambda: _nothing_waits(house))
        assert await house.has_charged(3_000)
        assert (await house.world.rows("SELECT count(*) FROM charges WHERE billable_ms > 0"))[0] <= count[0]


async def _nothing_waits(house: House) -> bool:
    rows = await house.world.rows(
        "SELECT count(*) FROM window_segments s WHERE allocation_id IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM charges c WHERE c.log_index = s.log_index AND c.n = s.n)"
    )
    return rows == [(0,)]


async def test_a_window_that_comes_before_its_allocations_facts_is_charged_when_they_come(
    house: House,
) -> None:
    granted_ms = house.agent.at_ms + 1_000
    await house.world.allocate("al-1", house.agent.node_id, [house.device], granted_ms)
    rows = await house.world.rows(
        "SELECT body, signature, producer_key_id FROM evidence_intake WHERE fact = 'allocation/al-1/granted'"
    )
    await house.world.execute("DELETE FROM evidence_intake WHERE fact = 'allocation/al-1/granted'")
    house.agent.stays.append(Stay(house.device, granted_ms, granted_ms + 2_000, "al-1"))
    async with priced(house), house.ledger(settle_ms=0):
        await house.upload()
        await until(lambda: _all_logged(house))
        assert await house.charged() == (0, 0)
        body, signature, key_id = rows[0]
        await house.world.execute(
            "INSERT INTO evidence_intake (type, firm_id, body, signature, producer_key_id, fact)"
            " VALUES ('allocation_event', :firm, :body, :signature, :key, 'allocation/al-1/granted')",
            firm=FIRM,
            body=body,
            signature=signature,
            key=key_id,
        )
        await until(lambda: house.has_charged(2_000))


async def test_use_without_authority_is_never_charged_and_is_counted(house: House) -> None:
    before = REGISTRY.get_sample_value("suanli_ledger_unattributed_device_ms_total") or 0.0
    start_ms = house.agent.at_ms + 1_000
    house.agent.stays.append(Stay(house.device, start_ms, start_ms + 2_000, "al-of-nobody"))

    async def counted() -> bool:
        value = REGISTRY.get_sample_value("suanli_ledger_unattributed_device_ms_total") or 0.0
        return value - before == 2_000

    async with priced(house), house.ledger(settle_ms=0):
        await house.upload()
        await until(counted)
        assert await house.world.rows("SELECT count(*) FROM charges") == [(0,)]


async def test_use_without_a_price_in_force_is_rated_at_nothing(house: House) -> None:
    async with house.ledger():
        granted_ms = await house.grant()
        await house.end(granted_ms + 2_000)
        await house.upload()

        async def rated() -> bool:
            return await house.charged() == (2_000, 0)

        await until(rated)
    assert await house.world.rows("SELECT DISTINCT price_id FROM charges") == [(None,)]


async def test_a_price_that_takes_effect_later_does_not_count_yet(house: House) -> None:
    line_ms = now_ms() // 300_000 * 300_000
    await house.world.set_price(line_ms - 300_000)
    await house.world.set_price(line_ms + 600_000, price_id="price-2", price_nano_cny=99_000_000_000)
    async with house.ledger():
        granted_ms = await house.grant()
        await house.end(granted_ms + 2_000)
        await house.upload()
        await until(lambda: house.has_charged(2_000))


def _missing_rows(table: str) -> float:
    return REGISTRY.get_sample_value("suanli_ledger_rating_missing_rows", {"table": table}) or 0.0


@pytest.mark.parametrize("table", ["firms", "price_versions"])
async def test_a_charge_whose_row_a_restore_lost_waits_for_it_and_the_ledger_goes_on(
    house: House, database_server: DatabaseServer, table: str
) -> None:
    """The published log names a firm and a price that the restored database has not."""
    async with priced(house):
        firm = "firm-lost" if table == "firms" else FIRM
        if table == "firms":
            await house.world.configure(firm)
        granted_ms = house.agent.at_ms + 1_000
        await house.world.allocate("al-1", house.agent.node_id, [house.device], granted_ms, firm=firm)
        house.agent.stays.append(Stay(house.device, granted_ms, granted_ms + 2_000, "al-1"))
        await house.world.allocation_event(
            "ended",
            "al-1",
            granted_ms + 2_000,
            node_id=house.agent.node_id,
            devices=[house.device],
            firm=firm,
        )
        await house.upload()
        [row] = await house.world.rows(f"SELECT row_to_json(t)::text FROM {table} t {_LOST[table]}")  # noqa: S608
        administrator = as_superuser(database_server, house.urls.name)
        _unchecked(administrator, f"DELETE FROM {table} {_LOST[table]}")  # noqa: S608
        async with house.ledger(settle_ms=0, holder="first"):
            await until(lambda: _missing_rows(table) == 1)
        assert _missing_rows(table) == 0, "who leads no more must not go on with the alarm"
        async with house.ledger(settle_ms=0) as ledger:
            await until(lambda: _missing_rows(table) == 1)
            # It goes on: what comes now is logged too, by the same leader.
            [(term,)] = await house.world.rows("SELECT term FROM leaders WHERE role = 'ledger'")
            await house.world.fact(Firm("later", "later", 1), "firm/later", "later")
            await until(lambda: _is_logged(house, "firm/later"))
            assert await house.charged() == (0, 0)
            assert await house.world.rows("SELECT term FROM leaders WHERE role = 'ledger'") == [(term,)]
            assert not ledger.task.done()

            back = f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, %s)"  # noqa: S608
            _unchecked(administrator, back, row[0])
            await until(lambda: house.has_charged(2_000))
            assert _missing_rows(table) == 0


_LOST = {"firms": "WHERE firm_id = 'firm-lost'", "price_versions": ""}


def _unchecked(administrator: str, statement: str, *values: str) -> None:
    """As a restore leaves rows: without a look at foreign keys."""
    with psycopg.connect(administrator) as connection:
        connection.execute("SET session_replication_role = 'replica'")
        connection.execute(statement, values)  # type: ignore[call-overload]


async def _is_logged(house: House, fact: str) -> bool:
    return bool(await house.world.rows("SELECT 1 FROM log_entries WHERE fact = :fact", fact=fact))
