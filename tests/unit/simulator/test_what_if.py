"""What would be if: the present queue under a change, beside the present; a change of nothing changes nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.errors import Invalid
from scheduler.domain.gangs import Share
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Cohort, QueueKey
from scheduler.domain.time import to_rfc3339
from scheduler.machine.messages import ConfigurationChanged, PriceFrom
from scheduler.planner import Hole, PlannerConfig, StopCause
from scheduler.planner.comparison import (
    NOBODY,
    Fate,
    Prospect,
    firm_change,
    firm_changes,
    most_changed,
    stopped_jobs,
)
from scheduler.planner.config import POLICIES
from scheduler.planner.plan_checks import check_plan
from scheduler.services.present import Present, configured_of
from scheduler.simulator.present import as_it_is, prospect_of, snapshot_of
from scheduler.simulator.situations import Situation, changed, notes_of
from scheduler.simulator.what_if import Answer, Question, document, tables_of
from tests.builders.cluster import POOL, Controller, a_node, a_queue
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

CONFIG = PlannerConfig()
NAMES = {FirmId("firm-a"): "acme", FirmId("firm-b"): "beta"}
HOUR_MS = 3_600_000


def a_controller(nodes: int = 2, **quota: int) -> Controller:
    """Two firms in one cohort, of which only the first has a quota where one is named."""
    nominal = {"firm-a": {}, "firm-b": {}, **{firm: {MODEL: devices} for firm, devices in quota.items()}}
    queues = [replace(a_queue(firm=firm, nominal=amount), cohort="city") for firm, amount in nominal.items()]
    made = Controller([a_node(f"n{n}") for n in range(nodes)])
    made.tell(
        ConfigurationChanged(
            {POOL: Pool(POOL)}, tuple(queues), (Cohort("city"),), prices=(PriceFrom(MODEL, 0, 10**10),)
        )
    )
    return made


def present_of(controller: Controller) -> Present:
    """As it would be read from the database."""
    state, at_ms = controller.state, controller.now_ms
    projects = {firm: ["research"] for firm in NAMES}
    return Present(at_ms, state, configured_of(state, at_ms), NAMES, {}, projects)


def what_if(controller: Controller, change: str, folder: Path) -> tuple[Prospect, Prospect]:
    """The present, and the present with a change file."""
    path = folder / "change.yaml"
    path.write_text(change, encoding="utf-8")
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    wanted = changed(base, path)
    return prospect_of(present, base, base, CONFIG), prospect_of(present, base, wanted, CONFIG)


def quota_of(firm: str, devices: int) -> str:
    """A firm of a change file."""
    return f"{{name: {firm}, queues: [{{name: default, cohort: city, nominal: {{{MODEL}: {devices}}}}}]}}"


def fill(controller: Controller, jobs: int, *, firm: str = "firm-a", limit_s: int | None = 3600) -> None:
    """Jobs of eight devices, which are named after their firm."""
    for job_id in [f"{firm}-{n}" for n in range(jobs)]:
        controller.submit(job_id, a_spec(job_id, devices=8, time_limit_s=limit_s), firm=firm)


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["firm-a", "firm-b"]),
        st.integers(1, 8),
        st.integers(1, 3),
        st.sampled_from([0, 500_000]),
    ),
    max_size=12,
)


def a_busy_controller(jobs: list[tuple[str, int, int, int]], planned: int, **quota: int) -> Controller:
    """Gangs and parts of devices of two firms, some of which were there when the controller planned."""
    controller = a_controller(nodes=2, **quota)
    for number, (firm, devices, nodes, ppm) in enumerate(jobs):
        if number == planned:
            controller.plan()
        spec = a_spec(devices=devices * nodes, per_node=devices, time_limit_s=600 * (number + 1))
        if ppm:
            spec = replace(a_spec(time_limit_s=600), share=Share(ppm=ppm))
        controller.submit(f"j{number}", spec, firm=firm)
    return controller


@settings(deadline=None, max_examples=40)
@given(JOBS, st.integers(0, 12))
def test_a_change_of_nothing_changes_nothing(
    tmp_path_factory: Any, jobs: list[tuple[str, int, int, int]], planned: int
) -> None:
    controller = a_busy_controller(jobs, planned)
    before, after = what_if(controller, "{}", tmp_path_factory.getbasetemp())
    assert before.snapshot == after.snapshot
    assert before.plan == after.plan
    assert most_changed(before, after, 100) == []
    assert {found.verdict for found in firm_changes(before, after)} <= {"same"}
    assert before.firms == after.firms


@settings(deadline=None, max_examples=40)
@given(JOBS, st.integers(0, 12), st.integers(0, 32), st.integers(0, 32), st.sampled_from(sorted(POLICIES)))
def test_whatever_is_changed_the_plan_is_legal_and_every_job_is_accounted_for(
    tmp_path_factory: Any,
    jobs: list[tuple[str, int, int, int]],
    planned: int,
    mine: int,
    other: int,
    profile: str,
) -> None:
    controller = a_busy_controller(jobs, planned, **{"firm-a": 8, "firm-b": 8})
    change = (
        f"profile: {profile}\nfirms: [{quota_of('acme', mine)}, {quota_of('beta', other)}]\n"
        f"cluster: {{nodes: [{{model: {MODEL}, devices: 8, pool: {POOL}}}]}}"
    )
    before, after = what_if(controller, change, tmp_path_factory.getbasetemp())
    assert check_plan(after.snapshot, after.plan, controller.now_ms) == []
    assert before.outlooks.keys() == after.outlooks.keys()
    assert after.whole.jobs == sum(firm.jobs for firm in after.firms.values())
    assert after.whole.stopped == sum(firm.stopped for firm in after.firms.values())
    assert after.whole.devices == pytest.approx(sum(firm.devices for firm in after.firms.values()))
    assert {found.firm for found in firm_changes(before, after)} == before.firms.keys() | after.firms.keys()


def test_a_firm_with_more_quota_starts_at_once_what_waited_for_it_and_wins(tmp_path: Path) -> None:
    controller = a_controller(nodes=3, **{"firm-a": 8, "firm-b": 0})
    fill(controller, 3)
    assert controller.plan() == ["firm-a-0"]
    quota = f"firms: [{quota_of('acme', 24)}]"
    before, after = what_if(controller, quota, tmp_path)
    assert before.plan.placements == ()
    assert {one.job_id for one in after.plan.placements} == {"firm-a-1", "firm-a-2"}
    assert [after.outlooks[job_id].later_ms <= was.later_ms for job_id, was in before.outlooks.items()] == [
        True
    ] * 2
    acme = next(found for found in firm_changes(before, after) if found.firm == "firm-a")
    assert (acme.verdict, acme.devices_change) == ("wins", 16)
    changes = most_changed(before, after, 10)
    assert {change.job_id for change in changes} == {"firm-a-1", "firm-a-2"}
    assert most_changed(before, after, 1) == changes[:1]
    assert changes[0].before.why is not None
    assert "the queue holds 8 of its 8" in changes[0].before.why.reasons[0].sentence


def test_more_quota_than_there_are_devices_is_said_beside_what_a_file_sets(tmp_path: Path) -> None:
    path = tmp_path / "much.yaml"
    path.write_text(f"firms: [{quota_of('acme', 24)}]", encoding="utf-8")
    base = as_it_is(present_of(a_controller(nodes=2, **{"firm-a": 8, "firm-b": 0})), CONFIG)
    assert list(notes_of([base, changed(base, path)])) == [
        f"much: queue acme/default: nominal.{MODEL} 8 -> 24",
        f"much: firms: acme/default.nominal.{MODEL}: got 24, want at most 16, as its pools have no more"
        " (nodes may come later)",
    ]


def test_a_job_that_is_told_nearly_the_same_start_is_none_of_those_that_change() -> None:
    controller = a_controller(nodes=1)
    fill(controller, 2)
    controller.plan()
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    before = prospect_of(present, base, base, CONFIG)
    ((job_id, waits),) = before.outlooks.items()
    assert waits.wait_ms is not None
    for wait_ms, named in ((waits.wait_ms * 1.01, False), (waits.wait_ms * 0.9, True), (None, True)):
        after = replace(before)
        told = waits._replace(wait_ms=None if wait_ms is None else round(wait_ms))
        after.__dict__["outlooks"] = {job_id: told}
        assert bool(most_changed(before, after, 10)) == named


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 64), st.integers(1, 6))
def test_with_more_quota_nobody_of_that_firm_starts_later(
    tmp_path_factory: Any, quota: int, jobs: int
) -> None:
    controller = a_controller(nodes=3, **{"firm-a": 8, "firm-b": 0})
    fill(controller, jobs)
    controller.plan()
    change = f"firms: [{quota_of('acme', quota)}]"
    before, after = what_if(controller, change, tmp_path_factory.getbasetemp())
    for job_id, was in before.outlooks.items():
        assert after.outlooks[job_id].later_ms <= was.later_ms


def test_nodes_that_are_added_start_what_waits_for_room_and_can_do_what_those_that_are_there_can(
    tmp_path: Path,
) -> None:
    controller = a_controller(nodes=1)
    controller.connect("n0", boot="boot-2", understands=("output_patterns",))
    fill(controller, 3)
    controller.plan()
    before, after = what_if(
        controller, f"cluster: {{nodes: [{{model: {MODEL}, devices: 8, pool: {POOL}}}]}}", tmp_path
    )
    assert [one.job_id for one in after.plan.placements] == ["firm-a-1"]
    assert after.snapshot.nodes[-1].features == before.snapshot.nodes[0].features
    waits = after.outlooks[JobId("firm-a-2")]
    assert waits.later_ms < before.outlooks[JobId("firm-a-2")].later_ms


def test_reclaimed_quota_names_who_stops_and_for_whom(tmp_path: Path) -> None:
    controller = a_controller(nodes=2, **{"firm-a": 16, "firm-b": 0})
    fill(controller, 2, firm="firm-a", limit_s=None)
    assert len(controller.plan()) == 2
    for record in controller.state.jobs.values():
        controller.run(record)
    controller.wait(10 * HOUR_MS)
    fill(controller, 1, firm="firm-b")
    controller.wait(10 * HOUR_MS)
    swap = f"firms: [{quota_of('acme', 0)}, {quota_of('beta', 16)}]"
    before, after = what_if(controller, swap, tmp_path)
    assert before.stops == []
    ((stop, job),) = stopped_jobs(after)
    assert (stop.cause, stop.for_job, job.shape.queue.firm_id) == (StopCause.RECLAIM, "firm-b-0", "firm-a")
    assert after.outlooks[JobId("firm-b-0")].fate is Fate.ROOM_IS_MADE
    assert {found.firm: found.verdict for found in firm_changes(before, after)} == {
        "firm-a": "loses",
        "firm-b": "wins",
    }
    assert (after.firms[FirmId("firm-a")].devices, after.firms[FirmId("firm-b")].devices) == (8, 8)


@pytest.mark.parametrize("jobs", [{"starts": 1}, {"room_is_made": 1}, {"stopped": -1}, {"untold": -1}])
def test_a_job_more_is_noticed_where_it_is_more_than_one_of_fifty(jobs: dict[str, int]) -> None:
    for of, said in ((49, "wins"), (50, "same")):
        was = replace(NOBODY, jobs=of, running=of, starts=5, room_is_made=5, stopped=5, untold=5)
        now = replace(was, **{name: 5 + change for name, change in jobs.items()})
        assert firm_change(FirmId("firm-a"), [], was, now).verdict == said
        assert firm_change(FirmId("firm-a"), [], now, was).verdict == said.replace("wins", "loses")


def test_devices_on_which_room_is_made_cost_what_those_that_come_free_do() -> None:
    controller = Controller([a_node("n0"), a_node("m0", model=OTHER_MODEL)])
    queues = [
        replace(a_queue(firm=firm, nominal={model: 8}), cohort="city")
        for firm, model in (("firm-a", MODEL), ("firm-b", OTHER_MODEL))
    ]
    prices = PriceFrom(MODEL, 0, 10**10), PriceFrom(OTHER_MODEL, 0, 5 * 10**10)
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, tuple(queues), (Cohort("city"),), prices=prices))
    for job_id, model in (("own", MODEL), ("borrower", OTHER_MODEL)):
        controller.submit(job_id, a_spec(job_id, devices=8, models=[model]), firm="firm-a")
        assert controller.plan() == [job_id]
        controller.run(controller.state.jobs[JobId(job_id)])
    controller.wait(10 * HOUR_MS)
    controller.submit("mine", a_spec("mine", devices=8, models=[MODEL, OTHER_MODEL]), firm="firm-b")
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    found = prospect_of(present, base, base, CONFIG)
    assert [stop.job_id for stop in found.stops] == ["borrower"]
    beta = found.firms[FirmId("firm-b")]
    assert (beta.room_is_made, beta.devices, beta.nano_cny_per_hour) == (1, 8, 8 * 5 * 10**10)


def test_who_stops_is_told_when_he_goes_on(tmp_path: Path) -> None:
    controller = a_controller(nodes=1, **{"firm-a": 0, "firm-b": 8})
    fill(controller, 1)
    assert controller.plan() == ["firm-a-0"]
    controller.run(controller.state.jobs[JobId("firm-a-0")])
    controller.wait(HOUR_MS // 2)
    fill(controller, 1, firm="firm-b", limit_s=100 * 3600)
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    found = prospect_of(present, base, base, CONFIG)
    assert [stop.job_id for stop in found.stops] == ["firm-a-0"]
    answer = Answer(present, [base], [found], 0.0, 0.0)
    (stop,) = document(answer, Question(()))["situations"][0]["stops"]
    assert stop["again"]["fate"] == "waits"
    assert stop["again"]["starts_expected"] > to_rfc3339(controller.now_ms + 10 * HOUR_MS)
    stops = tables_of(answer, 20)[-1]
    assert stops.rows[0][4].endswith("from now"), "it waits for the owner's job"


def test_who_waits_for_another_reason_alone_is_listed_too(tmp_path: Path) -> None:
    """First its quota is too small, then there are too few devices: nobody knows when it starts, either way."""
    controller = a_controller(nodes=2, **{"firm-a": 8, "firm-b": 8})
    controller.submit("large", a_spec("large", devices=24, per_node=8))
    before, after = what_if(controller, f"firms: [{quota_of('acme', 32)}]", tmp_path)
    (change,) = most_changed(before, after, 10)
    assert change.job_id == "large"
    assert (change.before.wait_ms, change.after.wait_ms) == (None, None)
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    answer = Answer(present, [base, replace(base, name="more")], [before, after], 0.0, 0.0)
    (row,) = tables_of(answer, 20)[-1].rows
    assert row[3] == row[4] == "nobody knows when"
    was, now = (side["reasons"][0]["sentence"] for side in _sides(answer))
    assert row[5] == f"{was} -> {now}"


def _sides(answer: Answer) -> list[dict[str, Any]]:
    (change,) = document(answer, Question(()))["situations"][1]["most_changed"]
    return [change["before"], change["after"]]


def test_who_gets_more_of_a_dear_model_wins_and_whose_prices_rise_loses(tmp_path: Path) -> None:
    quota = f"firms: [{{name: acme, queues: [{{name: default, nominal: {{{MODEL}: 8, {OTHER_MODEL}: 8}}}}]}}]"
    price = "price_cny_per_device_hour: '11', effective_from: '2026-01-01T00:00:00Z'"
    for change, said in (
        (quota, (8, 0, "wins")),
        (f"prices: [{{model: {MODEL}, {price}}}]", (0, 0.1, "loses")),
    ):
        controller = Controller([a_node("n0"), a_node("m0", model=OTHER_MODEL)])
        prices = PriceFrom(MODEL, 0, 10**10), PriceFrom(OTHER_MODEL, 0, 5 * 10**10)
        queue = a_queue(nominal={MODEL: 8, OTHER_MODEL: 0})
        controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (queue,), prices=prices))
        controller.submit("runs", a_spec("runs", devices=8, models=[MODEL]))
        assert controller.plan() == ["runs"]
        controller.submit("waits", a_spec("waits", devices=8, models=[OTHER_MODEL]))
        (found,) = firm_changes(*what_if(controller, change, tmp_path))
        assert (found.devices_change, pytest.approx(found.cost_change), found.verdict) == said


def test_a_firm_of_which_all_that_runs_is_stopped_is_told_so(tmp_path: Path) -> None:
    controller = a_controller(nodes=1)
    fill(controller, 1)
    controller.plan()
    from_, until = (to_rfc3339(controller.now_ms + ms) for ms in (60_000, HOUR_MS))
    window = f"maintenance: [{{name: works, pool: {POOL}, from: '{from_}', until: '{until}'}}]"
    before, after = what_if(controller, window, tmp_path)
    assert before.firms[FirmId("firm-a")].devices == 8
    assert (after.firms[FirmId("firm-a")].devices, after.firms[FirmId("firm-a")].stopped) == (0, 1)
    assert [found.verdict for found in firm_changes(before, after)] == ["loses"]


def test_the_state_that_was_read_answers_for_the_present_again_after_any_change(tmp_path: Path) -> None:
    controller = a_controller(nodes=1)
    fill(controller, 2)
    controller.plan()
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    first = snapshot_of(present, base, base)
    path = tmp_path / "all.yaml"
    path.write_text(
        f"profile: packing\nmoves: false\ncohorts: [{{name: other}}]\n"
        f"prices: [{{model: {MODEL}, price_cny_per_device_hour: '1', effective_from: '2030-01-01T00:00:00Z'}}]\n"
        f"firms: [{{name: acme, queues: [{{name: default, weight: 7, cohort: other}}]}}]\n"
        "maintenance: [{name: works, pool: pool-a, from: '2030-01-01T00:00:00Z', until: '2030-01-02T00:00:00Z'}]\n"
    )
    wanted = changed(base, path)
    seen = snapshot_of(present, base, wanted)
    queue = seen.queues[QueueKey(FirmId("firm-a"), "default")]
    assert (queue.weight, queue.cohort, queue.pools) == (7, "other", (POOL,))
    assert seen.prices == {MODEL: 10**9}  # next year's price counts at once
    assert seen.calendar == (Hole(1_893_456_000_000, 1_893_542_400_000, frozenset({seen.nodes[0].node_id})),)
    assert (wanted.profile, wanted.moves) == ("packing", False)
    assert snapshot_of(present, base, base) == first


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (
            "budgets: [{firm: acme, project: nope, period: month, amount_cny: '1'}]",
            r"budgets\[0\].project: got nope, want one of: research",
        ),
        ("firms: [{name: acme, queues: [{name: defualt}]}]", "firms: acme/defualt: got no such queue"),
        ("firms: [{name: nobody, queues: [{name: default}]}]", "firms: nobody/default: got no such queue"),
        ("firms: [{name: acme, queues: [{name: default, pools: [mars]}]}]", "firms: acme/default.pools"),
        (
            "firms: [{name: acme, queues: [{name: default, nominal: {h9: 8}}]}]",
            "firms: acme/default.nominal.h9",
        ),
        (
            f"firms: [{{name: acme, queues: [{{name: default, lending: {{{MODEL}: 8}}}}]}}]",
            "firms: acme/default.lending",
        ),
        ("firms: [{name: acme, queues: [{name: default, cohort: mars}]}]", "firms: acme/default.cohort"),
        ("cohorts: [{name: a, parent: b}, {name: b, parent: a}]", "cohorts: a.parent"),
        (
            "prices: [{model: h9, price_cny_per_device_hour: '1', effective_from: '2026-01-01T00:00:00Z'}]",
            r"prices\[0\].model",
        ),
        ("cluster: {nodes: [{model: h9, devices: 8}]}", "model"),
        (
            f"cluster: {{nodes: [{{model: {MODEL}, devices: 8, pool: mars}}]}}",
            r"cluster.nodes\[0\].pool: got mars",
        ),
        (
            "reservations: [{name: r, firm: acme, nodes: [n0], from: '2001-01-01T00:00:00Z', "
            "until: '2040-01-01T00:00:00Z'}]",
            r"reservations\[0\].from",
        ),
        (
            "reservations: [{name: r, firm: acme, nodes: [n9], from: '2039-01-01T00:00:00Z', "
            "until: '2040-01-01T00:00:00Z'}]",
            r"reservations\[0\].nodes\[0\]: got n9",
        ),
        ("profile: fastest", "profile: got 'fastest'"),
        ("quota: 3", "quota"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_its_field(tmp_path: Path, change: str, field: str) -> None:
    with pytest.raises(Invalid, match=field):
        what_if(a_controller(), change, tmp_path)


def test_the_answer_names_firms_and_jobs_for_people_and_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = a_controller(nodes=3, **{"firm-a": 8, "firm-b": 0})
    fill(controller, 3)
    controller.plan()
    quota = f"firms: [{quota_of('acme', 24)}]"
    before, after = what_if(controller, quota, tmp_path)
    present = present_of(controller)
    base = as_it_is(present, CONFIG)
    situations: list[Situation] = [base, replace(base, name="more")]
    answer = Answer(present, situations, [before, after], 0.0, 0.0)
    question = Question((tmp_path / "change.yaml",))
    found = json.loads(json.dumps(document(answer, question)))
    assert (found["running"], found["waiting"]) == (1, 2)
    more = found["situations"][1]
    assert [(start["job_id"], start["firm"], start["device_model"]) for start in more["starts"]] == [
        ("firm-a-1", "acme", MODEL),
        ("firm-a-2", "acme", MODEL),
    ]
    assert more["firms"]["acme"]["median_wait_ms"] == 0
    assert more["most_changed"][0]["before"]["reasons"][0]["reason"]
    assert [(v["firm"], v["situation"], v["verdict"]) for v in found["verdicts"]] == [
        ("acme", "more", "wins")
    ]
    whole, firms, jobs = tables_of(answer, 20)
    assert [row[2] for row in whole.rows[:3]] == ["balanced", "2", "2"]
    assert firms.rows[1][:3] == ["acme", "more", "2"]
    assert firms.rows[1][-1] == "wins"
    assert [row[4] for row in jobs.rows] == [f"starts on {MODEL}"] * 2
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert tables_of(answer, 20)[1].rows[1][-1] == "受益"
