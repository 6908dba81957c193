"""Metering with the host's real clocks and a real spool; the driver and the tasks are ours."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents import clock_source, metering
from agents.core.readings import DeviceSample, Holding, RankUse, TaskUse
from agents.devices.driver import Device, Driver, DriverError
from agents.metering import Metering
from agents.refusals import StateUnusable
from agents.samples import SampleFiles
from agents.signing import Sealer
from agents.spool import Spool
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SigningKey
from suanli.evidence.samples import check_samples
from suanli.evidence.window_checks import check_window
from suanli.evidence.windows import SeenCheckpoint, Segment, header_hash, parse_header, parse_segment
from tests.builders.waiting import until

KEY = SigningKey(bytes(range(32)))


class Devices(Driver):
    """A real device's driver that does as it is told."""

    name = "test"
    simulated = False

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.error = ""

    def inventory(self) -> Sequence[Device]:
        """Not asked for here."""
        return ()

    def sample(self) -> Sequence[DeviceSample]:
        """Two devices, when we may."""
        self.may_answer.wait()
        if self.error:
            raise DriverError(self.error)
        return [DeviceSample(index, utilisation_ppm=500_000) for index in (0, 1)]

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """None."""
        return {}

    def close(self) -> None:
        """Nothing is held."""


class Tasks:
    """One task that lives."""

    def uses(self) -> dict[str, TaskUse]:
        """Since the beginning of time."""
        return {"a": TaskUse(0, {0: RankUse(True, 5, 10, 1)})}

    def isolation(self) -> str:
        """As good as a host can do."""
        return "namespace"


class Host:
    """A spool, and metering on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = Spool(folder / "spool.db")
        self.samples = SampleFiles(folder / "samples", keep_days=1, keep_bytes=1 << 20)
        self.devices = Devices()
        identities = {
            i: DeviceIdentity(f"d{i}", "v", "m", i, None, None, None, "test", None, False) for i in (0, 1)
        }
        self.sealer = Sealer("node", "0", "test", False, 1_000, 50, identities, KEY)
        self.metering = self.begin()

    def begin(self, late_ms: int = 0) -> Metering:
        """A new life, so long after the enrolment."""
        return Metering(
            self.sealer,
            self.devices,
            self.spool,
            Tasks(),
            self.samples,
            boot_id="boot",
            metering_from_ms=clock_source.wall_ms() - late_ms,
            new_window=lambda: None,
            driver_patience_s=0.1,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meter from the first sample to the stop."""
        await self.metering.first_sample()
        self.metering.recover([])
        self.metering.hold([Holding("a", (0,), 1)])
        work = asyncio.create_task(self.metering.run())
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            self.metering.stop()

    def segments(self) -> list[Segment]:
        """All segments kept, after checking the chain."""
        found, previous = [], None
        for stored in self.spool.waiting(0, 10_000):
            assert check_window(stored.window, KEY.public_key) == []
            header = parse_header(stored.window.header)
            if previous is not None:
                assert header.prev_hash == header_hash(previous)
                assert header.start_ms == parse_header(previous).end_ms
            previous = stored.window.header
            found += [parse_segment(salted.body) for salted in stored.window.segments]
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host of its own."""
    made = Host(tmp_path)
    yield made
    made.devices.may_answer.set()
    made.spool.close()


@contextlib.contextmanager
def no_writing(host: Host) -> Iterator[None]:
    """The spool takes nothing (here: because somebody holds its lock)."""
    for connection in (host.spool._durable, host.spool._journal):
        connection.execute("PRAGMA busy_timeout=1")
    other = sqlite3.connect(host.folder / "spool.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


def observed(segments: Sequence[Segment], index: int) -> set[str]:
    """What a device was seen to be."""
    return {s.observed for s in segments if s.device.index == index and s.end_ms - s.start_ms > 300}


async def test_free_and_used_devices_are_told_apart(host: Host) -> None:
    async with host.running():
        await until(lambda: host.spool.count() >= 2)
    segments = host.segments()
    assert observed(segments, 0) == {"in_use"}
    assert observed(segments, 1) == {"free"}
    used = [s for s in segments if s.allocation_id == "a"]
    assert all(s.live_ms == s.end_ms - s.start_ms for s in used)
    assert all(abs(s.busy_ms * 2 - s.live_ms) <= s.samples_expected + 2 for s in used)


async def test_an_agent_that_starts_late_is_on_time_and_what_nobody_measured_is_unknown(host: Host) -> None:
    host.metering = host.begin(late_ms=900)
    async with host.running():
        assert abs(host.metering.now_ms - clock_source.wall_ms()) < 50
        began_ms = host.metering.meter.last_ms
        await until(lambda: host.spool.count() >= 2)
    segments = host.segments()
    assert all(s.observed == "unknown" for s in segments if s.end_ms <= began_ms)
    assert min(s.start_ms for s in segments if s.observed == "in_use") >= began_ms


async def test_devices_are_read_however_many_threads_wait_for_something_else(host: Host) -> None:
    slow = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        waiting = asyncio.ensure_future(asyncio.to_thread(slow.wait))
        try:
            await host.metering.first_sample()
            assert set(host.metering.samples) == {0, 1}
        finally:
            slow.set()
            await waiting


async def test_a_driver_that_hangs_makes_devices_unknown_and_tasks_are_metered_on(host: Host) -> None:
    async with host.running():
        await until(lambda: host.metering.samples_taken >= 3)
        host.devices.may_answer.clear()
        count = host.spool.count()
        await until(lambda: host.spool.count() >= count + 3)
        host.devices.may_answer.set()
        taken = host.metering.samples_taken
        await until(lambda: host.metering.samples_taken > taken + 25)
    segments = host.segments()
    assert observed(segments, 0) == {"in_use"}
    assert observed(segments, 1) == {"free", "unknown"}


async def test_a_driver_that_fails_makes_devices_unknown(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async with host.running():
        host.devices.error = "the library is gone"
        count = host.spool.count()
        await until(lambda: host.spool.count() >= count + 2)
    assert "unknown" in observed(host.segments(), 1)
    assert "cannot read the devices: the library is gone" in caplog.text


async def test_windows_wait_in_memory_while_the_disk_takes_none(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async with host.running():
        with no_writing(host):
            last_ms = host.metering.meter.last_ms
            await until(lambda: host.metering.meter.last_ms > last_ms + 2_500)
            assert host.spool.count() <= 1
        await until(lambda: host.spool.count() >= 3)
    assert observed(host.segments(), 1) == {"free"}
    assert "metering goes on in memory" in caplog.text


async def test_it_ends_before_it_would_lose_evidence(host: Host) -> None:
    await host.metering.first_sample()
    host.metering.recover([])
    tally: Any = host.metering.meter.advance(
        (host.metering.meter.last_ms // 1_000 + 1) * 1_000, clock_source.boot_ns(), {}, "uid"
    )
    with no_writing(host), pytest.raises(StateUnusable, match="make room and start the agent again"):
        host.metering._keep(tally * metering.MOST_PENDING_SEGMENTS)


async def test_the_next_life_goes_on_where_the_last_was_journalled(host: Host) -> None:
    async with host.running():
        await until(lambda: host.spool.count() >= 1)
    stopped_ms = host.metering.meter.last_ms
    host.metering = host.begin()
    assert host.metering.meter.last_ms == stopped_ms
    async with host.running():
        await until(lambda: host.metering.meter.last_ms > stopped_ms + 1_500)
    assert host.segments()[-1].end_ms == host.metering.meter.last_ms


async def test_no_window_forgets_a_log_checkpoint_that_one_before_it_had_seen(host: Host) -> None:
    seen = SeenCheckpoint("log", 7, "ab" * 32)
    async with host.running():
        host.metering.see(seen)
        await until(lambda: host.metering.samples_taken >= 3)
    host.metering = host.begin()
    async with host.running():
        host.metering.see(SeenCheckpoint("log", 5, "cd" * 32))  # of a gateway that lags behind
        stopped = host.spool.count()
        await until(lambda: host.spool.count() > stopped)
    headers = [parse_header(stored.window.header) for stored in host.spool.waiting(0, 10_000)]
    lives = [header.closed_by for header in headers].index("stop")
    assert {header.log_checkpoint for header in headers[lives:]} == {seen}
    assert len(headers) > lives + 1


async def test_raw_samples_bear_out_every_segment_that_was_signed_over_them(host: Host) -> None:
    async with host.running():
        await until(lambda: host.spool.count() >= 3)
        host.metering.settle()
        host.metering.hold([])
        await until(lambda: host.spool.count() >= 5)
    signed = [s for s in host.segments() if s.samples_root is not None]
    assert {s.allocation_id for s in signed if s.device.index == 0} == {"a", None}
    for segment in signed:
        lines = host.samples.read(
            segment.device.device_id, segment.allocation_id, segment.start_ms, segment.end_ms
        )
        assert check_samples(segment, lines) == []
        assert [p.field for p in check_samples(segment, lines[:-1])] == ["samples_root"]
        assert [p.field for p in check_samples(segment, [*lines, lines[-1]])] == ["samples_root"]
    # On a busy host a stretch between two readings may be longer than a window, which then holds none.
    assert all(s.samples_root for s in host.segments() if s.samples_taken)


async def test_a_disk_that_takes_no_samples_is_said_and_windows_go_on(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    (host.folder / "samples").write_text("no folder")
    async with host.running():
        await until(lambda: host.spool.count() >= 2 and host.metering.samples_taken >= 5)
    assert caplog.text.count("raw samples are not kept") == 1
    read = [s for s in host.segments() if s.samples_taken]
    assert read
    assert all(s.samples_root for s in read)


async def test_the_next_life_goes_on_over_the_same_samples(host: Host) -> None:
    async with host.running():
        await until(lambda: host.metering.samples_taken >= 3)
    host.metering = host.begin()
    async with host.running():
        await until(lambda: host.spool.count() >= 3)
    for segment in host.segments():
        if segment.samples_root is not None:
            lines = host.samples.read(
                segment.device.device_id, segment.allocation_id, segment.start_ms, segment.end_ms
            )
            assert check_samples(segment, lines) == []
