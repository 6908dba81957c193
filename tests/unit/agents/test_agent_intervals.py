"""From readings to what devices did."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.hardware import HardwareTally, told_between
from agents.core.intervals import IntervalMaker, Moment, ranks_of_device
from agents.core.readings import DeviceSample, Health, Holding, Interval, RankUse, TaskUse
from suanli.evidence.hardware import UNKNOWN_HARDWARE, Hardware

SIMULATED = IntervalMaker((0, 1, 2, 3), simulated=True)
REAL = IntervalMaker((0, 1), simulated=False)


def use(started_ms: int = 0, **ranks: RankUse) -> dict[str, TaskUse]:
    """Use of allocation a; ranks by r0, r1, ..."""
    return {"a": TaskUse(started_ms, {int(name[1:]): rank for name, rank in ranks.items()})}


def samples(*each: DeviceSample) -> dict[int, DeviceSample]:
    """By index."""
    return {sample.index: sample for sample in each}


@given(devices=st.integers(1, 16), processes=st.integers(1, 16))
def test_every_device_has_a_rank_and_every_rank_a_device(devices: int, processes: int) -> None:
    bound = [ranks_of_device(d, devices, processes) for d in range(devices)]
    assert all(bound)
    assert {rank for ranks in bound for rank in ranks} == set(range(processes))
    if processes <= devices:
        assert all(len(ranks) == 1 for ranks in bound)


def test_a_simulated_device_is_as_busy_as_its_process() -> None:
    before = Moment(1_000, {}, use(r0=RankUse(True, 500, 0, 1), r1=RankUse(True, 0, 0, 1)))
    after = Moment(2_000, {}, use(r0=RankUse(True, 900, 100, 3), r1=RankUse(True, 2_500, 60, 1)))
    made = whole(SIMULATED.make(before, after, [Holding("a", (0, 1, 2, 3), 2)]))
    assert (made[0].live_ms, made[0].busy_ms, made[0].cpu_ms, made[0].utilisation_ppm) == (
        1_000,
        400,
        400,
        400_000,
    )
    assert made[0] == made[1]
    assert (made[2].busy_ms, made[2].cpu_ms, made[2].utilisation_ppm) == (1_000, 2_500, 1_000_000)
    assert [made[i].memory_bytes for i in range(4)] == [50, 50, 30, 30]
    assert made[0].processes == 3


def test_life_begins_and_ends_with_the_processes() -> None:
    before = Moment(1_000, {}, {})
    after = Moment(2_000, {}, use(1_200, r0=RankUse(False, 90, 0, 0, ended_ms=1_700)))
    made = whole(SIMULATED.make(before, after, [Holding("a", (1,), 1)]))
    assert (made[1].observed, made[1].live_ms, made[1].busy_ms) == ("in_use", 500, 90)


def whole(made: dict[int, tuple[Interval, ...]]) -> dict[int, Interval]:
    """Devices of which nobody has a part only."""
    return {index: interval for index, (interval,) in made.items()}


@pytest.mark.parametrize(("alive_before", "lived_ms"), [(True, 1_000), (False, 0)])
def test_a_process_whose_end_nobody_wrote_down_lives_no_longer_than_it_was_seen(
    alive_before: bool, lived_ms: int
) -> None:
    before = Moment(1_000, {}, use(r0=RankUse(alive_before, 90, 0, 0)))
    after = Moment(2_000, {}, use(r0=RankUse(False, 90, 0, 0)))
    made = whole(SIMULATED.make(before, after, [Holding("a", (0,), 1)]))
    assert (made[0].observed, made[0].live_ms, made[0].busy_ms) == ("in_use", lived_ms, 0)


def test_a_ready_task_holds_its_devices_and_lives_not_yet() -> None:
    made = whole(SIMULATED.make(Moment(0, {}, {}), Moment(10, {}, {}), [Holding("a", (0,), 1)]))
    assert (made[0].observed, made[0].allocation_id, made[0].live_ms) == ("in_use", "a", 0)


@pytest.mark.parametrize(
    ("health", "observed"), [(Health.OK, "free"), (Health.DEGRADED, "free"), (Health.FAULTY, "faulty")]
)
def test_a_device_without_a_task_is_free_or_faulty(health: Health, observed: str) -> None:
    after = Moment(10, samples(DeviceSample(0, health)), {})
    made = whole(REAL.make(Moment(0, {}, {}), after, []))
    assert made[0].observed == observed
    assert made[1].observed == "unknown"


def test_a_real_device_is_as_busy_as_it_says_and_no_longer_than_its_processes_live() -> None:
    before = Moment(0, samples(DeviceSample(0, energy_mj=100)), {})
    reading = DeviceSample(
        0, utilisation_ppm=800_000, memory_bytes=7, power_mw=1, energy_mj=350, processes={8: 5, 9: 1}
    )
    after = Moment(1_000, samples(reading), use(500, r0=RankUse(True, 44, 0, 1)))
    made = whole(REAL.make(before, after, [Holding("a", (0,), 1)]))
    assert (made[0].live_ms, made[0].busy_ms, made[0].cpu_ms) == (500, 500, 44)
    assert (made[0].energy_mj, made[0].energy_method) == (250, "counter")
    assert (made[0].memory_bytes, made[0].processes) == (7, 2)


def test_energy_is_integrated_where_there_is_no_counter_or_it_began_anew() -> None:
    after = Moment(
        2_000, samples(DeviceSample(0, power_mw=300_000, energy_mj=5), DeviceSample(1, power_mw=1_000)), {}
    )
    before = Moment(0, samples(DeviceSample(0, energy_mj=9_999)), {})
    made = whole(REAL.make(before, after, []))
    assert (made[0].energy_mj, made[0].energy_method) == (600_000, "integrated")
    assert (made[1].energy_mj, made[1].energy_method) == (2_000, "integrated")


def test_what_a_shim_saw_says_nothing_of_other_devices_nor_of_a_real_device_itself() -> None:
    after = Moment(1_000, samples(DeviceSample(0, utilisation_ppm=9)), use(0, r0=RankUse(True, 700, 1, 1)))
    made = whole(REAL.make(Moment(0, {}, {}), after, [Holding("a", (0,), 1)], measured_by="shim"))
    assert (made[0].measured_by, made[0].live_ms, made[0].busy_ms, made[0].cpu_ms) == ("shim", 1_000, 0, 700)
    assert made[0].utilisation_ppm is None
    assert made[1].observed == "unknown"


def test_each_of_two_tasks_on_a_device_has_its_part_and_the_rest_is_free() -> None:
    before = Moment(0, {0: DeviceSample(0, energy_mj=0)}, {})
    reading = DeviceSample(0, utilisation_ppm=800_000, memory_bytes=7, energy_mj=1_000)
    one = TaskUse(0, {0: RankUse(True, 300, 40, 1)})
    after = Moment(1_000, {0: reading, 1: DeviceSample(1)}, {"a": one, "b": TaskUse(None, {})})
    holdings = [Holding("a", (0,), 1, 250_000), Holding("b", (0,), 1, 500_000)]
    first, second, rest = REAL.make(before, after, holdings)[0]
    assert (first.allocation_id, first.share_ppm, first.live_ms, first.busy_ms) == ("a", 250_000, 1_000, 800)
    assert (second.allocation_id, second.share_ppm, second.live_ms) == ("b", 500_000, 0)
    assert (rest.observed, rest.share_ppm, rest.utilisation_ppm, rest.processes) == ("free", 250_000, None, 0)
    assert [part.energy_mj for part in (first, second, rest)] == [250, 500, 250]
    assert {part.memory_bytes for part in (first, second, rest)} == {None}  # nobody can tell whose it is
    simulated = SIMULATED.make(before, after, holdings)[0]
    assert [part.memory_bytes for part in simulated] == [40, 0, None]


def shared_by(knows_processes: bool, processes: dict[int, int | None] | None) -> list[Interval]:
    """Two allocations with a half of a busy device each: `a` has processes 10 and 11, `b` has process 20."""
    maker = IntervalMaker((0,), simulated=False, knows_processes=knows_processes)
    reading = DeviceSample(0, utilisation_ppm=800_000, memory_bytes=100, processes=processes)
    ranks = {name: RankUse(True, 0, 9, len(pids), pids=pids) for name, pids in PIDS.items()}
    after = Moment(1_000, samples(reading), {name: TaskUse(0, {0: rank}) for name, rank in ranks.items()})
    return list(maker.make(Moment(0, {}, {}), after, [Holding(name, (0,), 1, 500_000) for name in PIDS])[0])


PIDS = {"a": frozenset({10, 11}), "b": frozenset({20})}


def test_a_part_has_the_memory_of_its_own_processes() -> None:
    first, second = shared_by(True, {10: 30, 11: 4, 20: 50, 99: 16})
    assert [(part.memory_bytes, part.processes) for part in (first, second)] == [(34, 2), (50, 1)]
    assert [part.busy_ms for part in (first, second)] == [800, 800]


def test_a_part_of_which_no_process_is_on_the_busy_device_was_not_busy() -> None:
    first, second = shared_by(True, {20: 50})
    assert (first.memory_bytes, first.utilisation_ppm, first.busy_ms) == (0, 0, 0)
    assert (second.memory_bytes, second.utilisation_ppm, second.busy_ms) == (50, 800_000, 800)


@pytest.mark.parametrize(
    ("knows_processes", "processes"),
    [(True, None), (False, {10: 30, 20: 50}), (True, {10: None, 11: 4, 20: None})],
)
def test_what_nobody_can_tell_of_a_parts_memory_is_unknown_and_not_zero(
    knows_processes: bool, processes: dict[int, int | None] | None
) -> None:
    parts = shared_by(knows_processes, processes)
    assert {part.memory_bytes for part in parts} == {None}
    assert [part.busy_ms for part in parts] == [800, 800]


def test_counters_of_the_hardware_are_of_the_stretch_and_a_set_back_is_counted() -> None:
    told = HardwareTally()
    readings = [
        DeviceSample(0, Health.OK, temperature_mc=40_000, link_in_bytes=100, ecc_corrected=3, links_up=8),
        DeviceSample(
            0, Health.DEGRADED, temperature_mc=50_000, link_in_bytes=350, ecc_corrected=5, links_up=7
        ),
        DeviceSample(0, Health.OK, temperature_mc=44_000, link_in_bytes=20, ecc_corrected=0, links_up=8),
    ]
    for before, after in itertools.pairwise(readings):
        told.add(told_between(before, after), (0, 400), 1_000, at_end=False)
        told.add(told_between(before, after), (400, 1_000), 1_000, at_end=True)
    found = told.told()
    assert (found.health, found.links_up_min, found.temperature_max_mc) == ("degraded", 7, 50_000)
    assert (found.temperature_mean_mc, found.link_in_bytes, found.ecc_corrected) == (47_000, 250, 2)
    assert (found.counter_resets, found.link_out_bytes, found.power_mean_mw) == (1, None, None)


def test_a_device_that_tells_nothing_is_unknown_and_not_zero() -> None:
    assert told_between(None, None) == UNKNOWN_HARDWARE
    assert told_between(DeviceSample(0), DeviceSample(0)) == Hardware(health="ok")


def test_a_part_of_a_device_tells_nothing_of_what_its_neighbours_draw_and_send() -> None:
    before = Moment(0, samples(DeviceSample(0, link_in_bytes=0, link_out_bytes=0)), {})
    reading = DeviceSample(0, power_mw=9, link_in_bytes=5, link_out_bytes=5, temperature_mc=1_000)
    parts = REAL.make(before, Moment(1_000, samples(reading), {}), [Holding("a", (0,), 1, 500_000)])[0]
    for told in (part.hardware for part in parts):
        assert (told.power_mean_mw, told.link_in_bytes, told.link_out_bytes) == (None, None, None)
        assert told.temperature_max_mc == 1_000
