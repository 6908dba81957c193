"""The spool keeps what was promised."""

import json
import sqlite3
import stat
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from agents.core.fence import Fence
from agents.core.meter import Meter, OpenWindow
from agents.core.readings import Interval
from agents.refusals import SpoolFull, StateUnusable
from agents.signing import Chain, Sealer
from agents.spool import Spool
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SigningKey
from suanli.evidence.window_checks import check_window
from suanli.evidence.windows import ClockReading, SignedWindow, header_hash, parse_header, signature_hash

KEY = SigningKey(bytes(range(32)))
SEALER = Sealer(
    node_id="node",
    agent_version="0",
    driver="simulated",
    simulated=True,
    window_ms=1_000,
    sample_ms=100,
    devices={
        0: DeviceIdentity("device", "ascend", "ascend-910b3", 0, "s", None, None, "simulated", None, True)
    },
    key=KEY,
)


def sealed(number: int, chain: Chain) -> SignedWindow:
    """A window of one free device."""
    meter = Meter((0,), 1_000, OpenWindow(number * 1_000, number * 1_000, "boot", 0, 0))
    (window,) = meter.advance((number + 1) * 1_000, 1, {0: (Interval("free"),)}, "uid", sampled=True)
    return SEALER.seal(window, chain, ClockReading("kernel", "synchronised", 0), None)


def fill(spool: Spool, count: int) -> None:
    """So many windows."""
    spool.append([lambda chain, n=n: sealed(n, chain) for n in range(count)], {"open": count})  # type: ignore[misc]


def test_windows_are_chained_in_order_and_pass_the_verifiers_checks(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 3)
    kept = spool.waiting(0, 10)
    assert [stored.seq for stored in kept] == [1, 2, 3]
    assert all(check_window(stored.window, KEY.public_key) == [] for stored in kept)
    said, before, last = parse_header(kept[2].window.header), kept[1].window, kept[2].window
    assert (said.prev_hash, said.prev_signature_hash) == (
        header_hash(before.header),
        signature_hash(before.signature),
    )
    assert spool.chain() == Chain(4, header_hash(last.header), signature_hash(last.signature))
    assert spool.journal() == {"open": 3}
    spool.close()


def test_an_older_agents_spool_goes_on_without_the_signature_that_it_forgot(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 2)
    chain = spool.chain()
    spool.acknowledged(2)
    spool.close()
    older = json.dumps({"seq": chain.seq, "prev_hash": chain.prev_hash})
    with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as connection:
        value = f"{zlib.crc32(f'chain {older}'.encode()):08x} {older}"
        connection.execute("UPDATE facts SET value = ? WHERE name = 'chain'", (value,))
    again = Spool(tmp_path / "spool.db")
    fill(again, 2)
    third, fourth = (parse_header(stored.window.header) for stored in again.waiting(0, 10))
    assert (third.seq, third.prev_hash, third.prev_signature_hash) == (3, chain.prev_hash, None)
    assert fourth.prev_signature_hash == signature_hash(again.waiting(0, 1)[0].window.signature)
    again.close()


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 2)
    spool.obey(Fence(3, 14))
    spool.note_launch("a", 1)
    spool.note_firm("firm", 400_001)
    spool.write_journal({"open": 9})
    before = spool.waiting(0, 10)
    spool.close()
    again = Spool(tmp_path / "spool.db")
    assert again.waiting(0, 10) == before
    assert (again.fence(), again.launched(), again.firms()) == (Fence(3, 14), {"a"}, {"firm": 400_001})
    assert again.journal() == {"open": 9}
    again.close()


def test_only_what_the_log_has_is_forgotten(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 3)
    spool.acknowledged(2)
    assert [stored.seq for stored in spool.waiting(0, 10)] == [3]
    fill(spool, 1)
    assert [stored.seq for stored in spool.waiting(0, 10)] == [3, 4]
    spool.close()


def test_a_refused_window_is_kept_but_not_sent_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 2)
    spool.refused(1, "prev_hash: wrong")
    assert [stored.seq for stored in spool.waiting(0, 10)] == [2]
    assert spool.count() == 2
    spool.close()


def test_report_numbers_rise_across_restarts(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    numbers = [spool.next_report_seq() for _ in range(3)]
    spool.close()
    again = Spool(tmp_path / "spool.db")
    numbers.append(again.next_report_seq())
    again.close()
    assert numbers == sorted(set(numbers))


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    fill(spool, 1)
    with sqlite3.connect(tmp_path / "spool.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # stands for any reason for which SQLite cannot write
        spool._durable.execute("PRAGMA busy_timeout=1")
        spool._journal.execute("PRAGMA busy_timeout=1")
        with pytest.raises(SpoolFull):
            fill(spool, 2)
        with pytest.raises(SpoolFull):
            spool.obey(Fence(1, 1))
        with pytest.raises(SpoolFull):
            spool.write_journal({})
        other.execute("ROLLBACK")
    other.close()
    assert spool.count() == 1
    fill(spool, 1)
    assert [stored.seq for stored in spool.waiting(0, 10)] == [1, 2]
    spool.close()


def test_the_database_is_the_agents_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    assert stat.S_IMODE((tmp_path / "spool.db").stat().st_mode) == 0o600
    spool.close()


def test_a_damaged_spool_is_said(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(StateUnusable, match="cannot be used"):
        Spool(tmp_path / "spool.db")
