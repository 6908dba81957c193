"""PostgreSQL restored to an earlier point: the published log outranks it, and no second tree is ever signed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from scheduler.catalogue import load_catalogue
from scheduler.ledger.restoring import TERMS_LOST
from scheduler.storage import migrate, roles
from scheduler.storage.cluster import load_state
from scheduler.storage.embedded import EmbeddedPostgres
from scheduler.storage.payload_archive import PayloadArchive
from scheduler.storage.tile_store import TileStore
from suanli.evidence import merkle
from suanli.evidence.log_checkpoint import LogCheckpoint, open_log_checkpoint
from suanli.evidence.records import Firm
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import Agent, Pki, UsageStream, make_pki, now_ms, running_gateway
from tests.builders.ledger import Keys, World, make_keys, running_ledger
from tests.builders.restoring import ArchivingServer
from tests.builders.waiting import until


def urls_of(server: EmbeddedPostgres) -> DatabaseUrls:
    """The server's own database as each role sees it."""
    return DatabaseUrls("suanli", *(server.url(role) for role in (roles.OWNER, *roles.SERVICE_ROLES)))


@dataclass
class Site:
    """Keys, a log, and a server whose past can be brought back."""

    folder: Path
    keys: Keys
    pki: Pki
    archiving: ArchivingServer
    store: TileStore

    def head(self) -> LogCheckpoint:
        """The published tree head."""
        note = self.store.checkpoint()
        assert note is not None
        return open_log_checkpoint(note, self.keys.vkey)[0]

    async def published(self, size: int) -> bool:
        """Whether the log has this size."""
        return self.store.checkpoint() is not None and self.head().size == size


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    archiving = ArchivingServer(tmp_path)
    archiving.start()
    try:
        migrate.upgrade(archiving.server.url(roles.OWNER))
        yield Site(
            tmp_path,
            make_keys(tmp_path / "keys"),
            make_pki(tmp_path / "pki"),
            archiving,
            TileStore(tmp_path / "log"),
        )
    finally:
        archiving.server.stop()


async def facts(world: World, *names: str) -> None:
    """Facts for the log."""
    for name in names:
        await world.fact(Firm(name, name, 1), f"firm/{name}", name)


async def entries(world: World) -> list[tuple[object, ...]]:
    """Every entry and segment, whole."""
    return await world.rows(
        "SELECT log_index, type, producer_key_id, firm_id, firm_seq, leaf, salt, payload, segments, fact, node_id,"
        " seq, start_ms, end_ms FROM log_entries ORDER BY log_index"
    ) + await world.rows(
        "SELECT log_index, n, firm_id, allocation_id, device_id FROM window_segments ORDER BY log_index, n"
    )


@dataclass
class Past:
    """What was published before the restore."""

    agent: Agent
    backup: Path
    head: LogCheckpoint
    entries: list[tuple[object, ...]]
    chain: list[tuple[object, ...]]
    kept: int  # entries at the point


CHAIN = "SELECT stored_seq, stored_header_sha256 FROM agent_keys"


async def live_on(site: Site) -> Past:
    """A backup, facts and windows, the point, and more of both."""
    urls = urls_of(site.archiving.server)
    world, agent = World(urls, site.keys), Agent()
    async with (
        running_gateway(urls.gateway, site.folder, site.pki) as gateway,
        running_ledger(urls.ledger, site.keys, site.folder / "log"),
    ):
        await world.configure()
        await agent.enrol(gateway, await world.join_token())
        async with agent.stubs(gateway) as stubs:
            stream = UsageStream(stubs)
            await send(stream, agent, now_ms())
            backup = site.archiving.base_backup()
            await facts(world, "before")
            await until(lambda: _logged(world))
            site.archiving.mark("point")
            kept = len(await world.rows("SELECT 1 FROM log_entries"))
            await world.allocate("al-1", agent.node_id, [agent.devices[0].device_id], now_ms())
            await facts(world, "after-1", "after-2")
            await send(stream, agent, now_ms() + 2_000)
            await until(lambda: _logged(world))
            await stream.close()
    past = Past(agent, backup, site.head(), await entries(world), await world.rows(CHAIN), kept)
    await world.close()
    return past


async def send(stream: UsageStream, agent: Agent, end_ms: int) -> None:
    """Windows up to here, acknowledged."""
    await stream.send(agent.windows_until(end_ms))
    await stream.until_acknowledged(agent.seq)
    assert stream.refused == []


async def test_what_a_restored_database_lacks_comes_back_and_the_same_tree_goes_on(site: Site) -> None:
    past = await live_on(site)
    with_past = site.archiving.restore(past.backup, "point")
    try:
        urls = urls_of(with_past)
        world = World(urls, site.keys)
        assert len(await world.rows("SELECT 1 FROM log_entries")) == past.kept < past.head.size
        async with (
            running_gateway(urls.gateway, site.folder, site.pki) as gateway,
            running_ledger(urls.ledger, site.keys, site.folder / "log"),
        ):
            await until(lambda: _has(world, "SELECT 1 FROM log_entries", past.head.size))
            assert await entries(world) == past.entries
            assert site.head() == past.head
            assert await world.rows(CHAIN) == past.chain
            await facts(world, "later")
            async with past.agent.stubs(gateway) as stubs:
                stream = UsageStream(stubs)
                await send(stream, past.agent, now_ms() + 4_000)
                await stream.close()
            await until(lambda: _logged(world))
        leaves = [
            merkle.leaf_hash(row[0])
            for row in await world.rows("SELECT leaf FROM log_entries ORDER BY log_index")
        ]
        grown = site.head()
        assert grown.size > past.head.size
        assert merkle.root(leaves[: grown.size]) == grown.root
        assert merkle.root(leaves[: past.head.size]) == past.head.root
        # What agents have obeyed and what the log has numbered is forgotten here: the next leader is above both.
        [(term, events_above)] = await world.rows(
            "SELECT term, events_above FROM leaders WHERE role = 'controller'"
        )
        assert term >= TERMS_LOST
        assert events_above == 1
        async with world.owner.read() as session:
            assert (await load_state(session, load_catalogue(), now_ms())).event_seq == 1
        await world.close()
    finally:
        with_past.stop()


async def _logged(world: World) -> bool:
    return await world.rows(
        "SELECT (SELECT count(*) FROM usage_intake) + (SELECT count(*) FROM evidence_intake) = 0"
        " AND (SELECT max(size) FROM log_checkpoints) = (SELECT count(*) FROM log_entries)"
    ) == [(True,)]


async def _has(world: World, statement: str, count: int) -> bool:
    return len(await world.rows(statement)) == count


async def test_a_restored_database_whose_payloads_are_gone_halts_the_ledger(site: Site) -> None:
    """Without the payload the entry could only be invented: a person has to bring the archive back."""
    from scheduler.ledger.metrics import HALTED

    HALTED.set(0)
    urls = urls_of(site.archiving.server)
    world = World(urls, site.keys)
    backup = site.archiving.base_backup()
    site.archiving.mark("point")
    async with running_ledger(urls.ledger, site.keys, site.folder / "log"):
        await facts(world, "one", "two")
        await until(lambda: site.published(3))
    await world.close()
    head = site.head()
    archive = PayloadArchive(site.folder / "log-payloads")
    assert sorted(archive.read(0)) == [0, 1, 2]
    archive.replace(0, [archive.read(0)[0].encode()])
    with_past = site.archiving.restore(backup, "point")
    try:
        async with running_ledger(urls_of(with_past).ledger, site.keys, site.folder / "log") as ledger:
            await until(_halted)
            assert not ledger.task.done()
            assert not ledger.announced.is_set()
    finally:
        with_past.stop()
    assert site.head() == head


async def _halted() -> bool:
    return REGISTRY.get_sample_value("suanli_ledger_halted") == 1.0
