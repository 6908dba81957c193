"""Windows tile time: no hole, no overlap, cut at the grid, whatever is measured."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.meter import RECOVERY, STOP, ClosedWindow, Meter, OpenWindow
from agents.core.readings import UNKNOWN, Interval, share
from agents.core.tally import Tally, samples_expected
from tests.builders.agents import check_tiling

WINDOW_MS = 1_000
DEVICES = (0, 1)
FREE = (Interval("free"),)


def meter(start_ms: int = 0) -> Meter:
    """A meter that has measured nothing yet."""
    return Meter(DEVICES, WINDOW_MS, OpenWindow(start_ms, start_ms, "boot", 0, 0))


def in_use(length_ms: int, busy_ms: int = 0) -> tuple[Interval, ...]:
    """A busy interval of allocation a."""
    return (
        Interval(
            "in_use", "a", "agent", length_ms, busy_ms, busy_ms, busy_ms * 1_000_000 // length_ms, 1_024, 1
        ),
    )


def test_an_interval_across_a_line_of_the_grid_is_split_in_proportion() -> None:
    it = meter()
    assert it.advance(600, 600_000_000, {0: FREE, 1: FREE}, "uid") == []
    (window,) = it.advance(1_400, 1_400_000_000, {0: in_use(800, 400), 1: FREE}, "uid")
    assert (window.start_ms, window.end_ms, window.boot_end_ns, window.closed_by) == (
        0,
        1_000,
        1_000_000_000,
        "grid",
    )
    free, used = window.tallies[0]
    assert (free.observed, free.end_ms) == ("free", 600)
    assert (used.start_ms, used.end_ms, used.live_ms, used.busy_ms, used.cpu_ms) == (
        600,
        1_000,
        400,
        200,
        200,
    )
    rest = it.window.tallies[0][0]
    assert (rest.start_ms, rest.end_ms, rest.live_ms, rest.busy_ms, rest.allocation_id) == (
        1_000,
        1_400,
        400,
        200,
        "a",
    )


def test_a_window_in_which_no_reading_ended_is_measured_and_has_no_raw_samples() -> None:
    it = meter()
    raw = {0: (b"line",), 1: (b"line",)}
    first, second = it.advance(
        2_400, 2_400_000_000, {0: in_use(2_400), 1: FREE}, "uid", sampled=True, raw=raw
    )
    for window in (first, second):
        (used,) = window.tallies[0]
        assert (used.observed, used.samples_taken, used.samples_root) == ("in_use", 0, None)
    (rest,) = it.window.tallies[0]
    assert (rest.samples_taken, rest.samples_root is None) == (1, False)


def test_parts_of_a_device_are_told_side_by_side_and_sum_to_the_whole() -> None:
    def parts(**held: int) -> tuple[Interval, ...]:
        mine = [Interval("in_use", name, live_ms=400, share_ppm=ppm) for name, ppm in held.items()]
        return (*mine, Interval("free", share_ppm=1_000_000 - sum(held.values())))

    it = meter()
    assert it.advance(400, 1, {0: parts(a=250_000), 1: FREE}, "uid") == []
    assert it.advance(800, 2, {0: parts(a=250_000, b=500_000), 1: FREE}, "uid") == []
    (window,) = it.advance(1_200, 3, {0: parts(b=500_000), 1: FREE}, "uid")
    told = [(t.start_ms, t.end_ms, t.allocation_id, t.share_ppm) for t in window.tallies[0]]
    assert told == [
        (0, 800, "a", 250_000),
        (0, 400, None, 750_000),
        (400, 1_000, "b", 500_000),
        (400, 800, None, 250_000),
        (800, 1_000, None, 500_000),
    ]
    assert OpenWindow.from_json(it.window.to_json()) == it.window


def test_a_device_that_nobody_read_is_unknown() -> None:
    it = meter()
    (window,) = it.advance(1_000, 1, {0: FREE}, "uid")
    assert window.tallies[1][0].observed == "unknown"
    assert window.tallies[1][0].measured_by == "nobody"


def test_a_window_claims_the_weakest_isolation_of_its_time_and_of_no_other() -> None:
    it = meter()
    windows = it.advance(1_000, 1, {0: FREE, 1: FREE}, "namespace")
    windows += it.advance(1_500, 2, {0: FREE, 1: FREE}, "none")
    windows += it.advance(2_000, 3, {0: FREE, 1: FREE}, "uid")
    windows += it.advance(2_500, 4, {0: FREE, 1: FREE}, "uid")
    windows += it.advance(3_000, 4, {0: FREE, 1: FREE}, "namespace")
    windows += it.advance(4_000, 5, {0: FREE, 1: FREE}, "namespace")
    assert [window.isolation for window in windows] == ["namespace", "none", "uid", "namespace"]


def test_unknown_time_over_many_lines_becomes_one_window() -> None:
    it = meter(300)
    it.advance(500, 1_000, {0: FREE, 1: FREE}, "uid")
    closed = it.skip(7_400, 10_000, "uid")
    assert [(w.start_ms, w.end_ms, w.closed_by) for w in closed] == [
        (300, 1_000, RECOVERY),
        (1_000, 7_000, RECOVERY),
    ]
    assert [t.observed for t in closed[0].tallies[0]] == ["free", "unknown"]
    assert [t.observed for t in closed[1].tallies[0]] == ["unknown"]
    assert (it.window.start_ms, it.last_ms) == (7_000, 7_400)


def test_stopping_closes_what_is_open_and_nothing_that_is_empty() -> None:
    it = meter()
    it.advance(400, 1, {0: FREE, 1: FREE}, "uid")
    (window,) = it.close(STOP)
    assert (window.end_ms, window.closed_by) == (400, STOP)
    assert it.close(STOP) == []


def test_after_a_reboot_the_old_window_ends_where_it_was_measured_and_the_clock_begins_anew() -> None:
    it = meter()
    it.advance(400, 900, {0: FREE, 1: FREE}, "uid")
    (window,) = it.rebooted("another boot")
    assert (window.boot_id, window.end_ms, window.boot_end_ns, window.closed_by) == (
        "boot",
        400,
        900,
        RECOVERY,
    )
    assert (it.window.boot_id, it.window.boot_start_ns, it.last_ms) == ("another boot", 0, 400)


def test_the_journal_gives_back_the_open_window() -> None:
    it = meter()
    it.advance(1_700, 5, {0: in_use(1_700, 33), 1: FREE}, "none", sampled=True)
    assert OpenWindow.from_json(it.window.to_json()) == it.window


def test_parts_sum_to_the_whole() -> None:
    assert sum(share(100, a, a + 1, 7) for a in range(7)) == 100


def test_sampling_instants_are_counted_half_open() -> None:
    assert samples_expected(0, 1_000, 100) == 10
    assert samples_expected(1, 1_000, 100) == 9
    assert samples_expected(1, 100, 100) == 0
    assert samples_expected(100, 101, 100) == 1


def test_means_are_weighted_by_time() -> None:
    tally = Tally.begin(0, FREE[0])
    tally.add(Interval("free", utilisation_ppm=100, memory_bytes=10), (0, 300), 300, sampled=True)
    tally.add(Interval("free", utilisation_ppm=900, memory_bytes=50), (0, 100), 100, sampled=True)
    tally.add(Interval("free"), (0, 500), 500, sampled=False)
    assert (tally.utilisation_mean_ppm, tally.utilisation_max_ppm) == (300, 900)
    assert (tally.memory_mean_bytes, tally.memory_max_bytes, tally.samples_taken) == (20, 50, 2)


def test_energy_of_two_methods_is_called_integrated() -> None:
    tally = Tally.begin(0, FREE[0])
    tally.add(Interval("free", energy_mj=5, energy_method="counter"), (0, 10), 10, sampled=False)
    tally.add(Interval("free", energy_mj=7, energy_method="integrated"), (0, 10), 10, sampled=False)
    tally.add(Interval("free", energy_mj=1, energy_method="counter"), (0, 10), 10, sampled=False)
    assert (tally.energy_mj, tally.energy_method) == (13, "integrated")


steps = st.lists(
    st.tuples(
        st.integers(1, 3_500),
        st.sampled_from(["free", "in_use", "skip", "stop", "nothing"]),
        st.integers(0, 1_000_000),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(start_ms=st.integers(0, 5_000), steps=steps)
def test_time_is_tiled_whatever_happens(start_ms: int, steps: list[tuple[int, str, int]]) -> None:
    it = meter(start_ms)
    windows: list[ClosedWindow] = []
    at_ms, lived = start_ms, 0
    for length_ms, what, busy_ppm in steps:
        at_ms += length_ms
        boot_ns = (at_ms - start_ms) * 1_000_000
        if what == "skip":
            windows += it.skip(at_ms, boot_ns, "uid")
        else:
            made = {
                "free": FREE,
                "in_use": in_use(length_ms, length_ms * busy_ppm // 1_000_000),
                "nothing": (UNKNOWN,),
            }
            lived += length_ms if what == "in_use" else 0
            windows += it.advance(at_ms, boot_ns, {0: made.get(what, FREE), 1: FREE}, "uid")
            windows += it.close(STOP) if what == "stop" else []
    windows += it.close(STOP)
    check_tiling(windows, start_ms)
    assert windows[-1].end_ms == at_ms
    total_live = sum(t.live_ms for w in windows for t in w.tallies[0])
    assert lived - len(windows) <= total_live <= lived
    for window in windows:
        crosses = window.start_ms // WINDOW_MS != (window.end_ms - 1) // WINDOW_MS
        if crosses:
            assert window.closed_by == RECOVERY
            assert all(t.observed == "unknown" for ts in window.tallies.values() for t in ts)
        if window.closed_by == "grid":
            assert window.end_ms % WINDOW_MS == 0
