"""Time stamps of the log: asked of an authority, kept beside the tiles, and never in the ledger's way."""

from pathlib import Path

from prometheus_client import REGISTRY

from scheduler.storage.stamp_store import StampStore
from suanli.cli.time_stamps import stamp_check
from suanli.evidence.log_checkpoint import open_log_checkpoint
from tests.builders.authority import make_authority, running_authority
from tests.builders.database import DatabaseUrls
from tests.builders.gateway import now_ms
from tests.builders.ledger import World, make_keys, running_ledger
from tests.builders.waiting import until


def _failures() -> float:
    return REGISTRY.get_sample_value("suanli_ledger_stamp_failures_total") or 0.0


async def test_an_authority_stamps_the_log_and_one_that_fails_holds_nothing_up(
    database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    keys, authority = make_keys(tmp_path / "keys"), make_authority(tmp_path / "tsa")
    world, store = World(database_urls, keys), StampStore(tmp_path / "log")
    failed = _failures()
    with running_authority(authority) as (url, broken):
        broken.set()
        async with running_ledger(
            database_urls.ledger, keys, tmp_path / "log", stamp_url=url, stamp_period_ms=500
        ):
            await world.configure()

            async def logged() -> bool:
                return bool(await world.rows("SELECT 1 FROM log_entries WHERE type = 'firm'"))

            async def refused() -> bool:
                return _failures() > failed

            async def stamped() -> bool:
                return store.newest() is not None

            await until(refused)
            await until(logged)  # while the authority is out of order
            assert store.newest() is None
            broken.clear()
            await until(stamped)
    kept = store.newest()
    assert kept is not None
    head, _ = open_log_checkpoint(kept.stamped, keys.vkey)
    assert head.size == kept.size
    assert abs(stamp_check(authority.root)(kept.answer, kept.stamped) - now_ms()) < 120_000
    assert store.newest(kept.size - 1) is None or store.newest(kept.size - 1) != kept
    await world.close()
