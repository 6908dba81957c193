"""Time without an agent: accounted for by shims, else unknown."""

from agents.core.intervals import IntervalMaker
from agents.core.meter import RECOVERY, Meter, OpenWindow
from agents.core.readings import Holding, Interval, RankUse, TaskUse
from agents.core.recovery import Piece, Vouched, part_of, pieces_of_task, replay
from tests.builders.agents import check_tiling

MAKER = IntervalMaker((0, 1), simulated=True)
HOLDING = Holding("a", (0,), 1)


def at(cpu_ms: int, live: bool = True, ended_ms: int | None = None) -> TaskUse:
    """Use of a task that started at 0."""
    return TaskUse(0, {0: RankUse(live, cpu_ms, 10, 1, ended_ms)})


def test_a_gap_is_filled_by_the_shims_lines_and_the_rest_is_unknown() -> None:
    lines = [
        Vouched(100, 400, at(250)),  # reaches back before the gap
        Vouched(400, 700, at(500)),
        Vouched(1_500, 1_900, at(600)),  # nobody measured from 700 to 1500
        Vouched(1_900, 2_200, at(700, live=False, ended_ms=2_200)),
    ]
    pieces = pieces_of_task(MAKER, HOLDING, lines, at(200), from_ms=300)
    assert [(p.start_ms, p.end_ms, p.interval.cpu_ms) for p in pieces[0, "a"]] == [
        (300, 400, 50),
        (400, 700, 250),
        (1_500, 1_900, 100),
        (1_900, 2_200, 100),
    ]
    meter = Meter((0, 1), 1_000, OpenWindow(300, 300, "boot", 0, 0))
    windows = replay(meter, pieces, 3_300, lambda ms: (ms - 300) * 1_000_000, "uid")
    windows += meter.close("stop")
    check_tiling(windows, 300)
    stretches = [(t.start_ms, t.end_ms, t.observed, t.measured_by) for w in windows for t in w.tallies[0]]
    assert stretches == [
        (300, 700, "in_use", "shim"),
        (700, 1_000, "unknown", "nobody"),
        (1_000, 1_500, "unknown", "nobody"),
        (1_500, 2_000, "in_use", "shim"),
        (2_000, 2_200, "in_use", "shim"),
        (2_200, 3_000, "unknown", "nobody"),
        (3_000, 3_300, "unknown", "nobody"),
    ]
    assert sum(t.live_ms for w in windows for t in w.tallies[0]) == 400 + 700
    assert abs(sum(t.busy_ms for w in windows for t in w.tallies[0]) - 500) <= 2
    assert {t.observed for w in windows for t in w.tallies[1]} == {"unknown"}
    assert {w.closed_by for w in windows[:-1]} == {RECOVERY}


def test_lines_from_before_the_journal_are_not_counted_again() -> None:
    pieces = pieces_of_task(
        MAKER, HOLDING, [Vouched(0, 100, at(70)), Vouched(100, 200, at(140))], at(140), 200
    )
    assert pieces == {(0, "a"): []}


def test_without_a_shim_the_whole_gap_is_one_unknown_window() -> None:
    meter = Meter((0, 1), 1_000, OpenWindow(500, 500, "boot", 0, 0))
    windows = replay(meter, {}, 86_400_000, lambda ms: ms, "uid")
    assert [(w.start_ms, w.end_ms) for w in windows] == [(500, 1_000), (1_000, 86_400_000)]


def test_a_part_of_a_piece_is_in_proportion() -> None:
    piece = Piece(0, 1_000, Interval("in_use", "a", "shim", 1_000, 500, 500))
    part = part_of(piece, 250, 500)
    assert (part.live_ms, part.busy_ms, part.cpu_ms) == (250, 125, 125)
