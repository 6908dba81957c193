"""`suanli admin what-if`: the live queue as it is and under proposed changes, side by side. Nothing is changed."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.ids import JobId
from scheduler.domain.time import to_rfc3339
from scheduler.planner import PlannerConfig, Shape
from scheduler.planner.comparison import (
    NOBODY,
    Fate,
    FirmOutlook,
    JobChange,
    Outlook,
    Prospect,
    firm_changes,
    most_changed,
    stopped_jobs,
)
from scheduler.planner.garbage import uncollected
from scheduler.services.present import Present, read_present
from scheduler.simulator.pictures import shown_name
from scheduler.simulator.present import prospect_of, situations_of
from scheduler.simulator.situations import Situation, require_different_names, with_profile
from scheduler.simulator.tables import TableOfText, file_of, told_time
from scheduler.storage.engine import Database
from suanli.sentences.words import said

NANO = 1_000_000_000
FORMAT = "suanli-what-if/1"


@dataclass(frozen=True, slots=True)
class Question:
    """What was typed."""

    changes: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()
    most: int = 20  # jobs that are named, of those that change most under each change


@dataclass(frozen=True, slots=True)
class Asked:
    """The present, and the situations that it is to be planned in; the present as it is first."""

    present: Present
    situations: Sequence[Situation]
    read_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the planner makes of each situation."""

    present: Present
    situations: Sequence[Situation]
    prospects: Sequence[Prospect]
    read_s: float
    planned_s: float


async def ask(database: Database, question: Question, config: PlannerConfig) -> Asked:
    """Reads the present in one moment, in which PostgreSQL refuses to write.

    Raises Invalid for a change that cannot be, DatabaseAway. Cost: as a start of the controller.
    """
    if not question.changes and not question.profiles:
        raise Invalid([FieldProblem("--change", "nothing", "a change file, or a --profile")])
    begun_s = time.monotonic()
    async with database.snapshot() as session:
        present = await read_present(session, load_catalogue(), time.time_ns() // 1_000_000)
        situations = await situations_of(session, present, config, question.changes)
    base = situations[0]
    situations += [with_profile(base, name, name) for name in question.profiles if name != base.profile]
    require_different_names(situations)
    return Asked(present, situations, time.monotonic() - begun_s)


def answer_of(asked: Asked, config: PlannerConfig) -> Answer:
    """Cost: for each situation a cycle anew, and the told starts of all waiting jobs; twice where anybody stops."""
    begun_s = time.monotonic()
    present, base = asked.present, asked.situations[0]
    with uncollected():
        prospects = [prospect_of(present, base, wanted, config) for wanted in asked.situations]
        for prospect in prospects:
            _ = prospect.outlooks
    return Answer(present, asked.situations, prospects, asked.read_s, time.monotonic() - begun_s)


def summary_of(answer: Answer) -> str:
    """What was asked of, in a line."""
    whole, running = answer.prospects[0].whole, len(answer.prospects[0].snapshot.running)
    return f"the present at {to_rfc3339(answer.present.at_ms)}: jobs that run: {running}, that wait: {whole.jobs}"


# --- For people -----------------------------------------------------------------------------------------------


def tables_of(answer: Answer, most: int) -> list[TableOfText]:
    """The whole, each firm with who wins and loses, then of each change the jobs."""
    names = [shown_name(situation.name) for situation in answer.situations]
    whole = [[said(label), *[tell(one.whole) for one in answer.prospects]] for label, tell in _LINES]
    whole.insert(0, [said("profile"), *[situation.profile for situation in answer.situations]])
    header = (
        "firm", "under", "start now", "room is made", "go on waiting", "told start, median", "90 %", "devices",
        "CNY an hour", "",
    )  # fmt: skip
    tables = [
        TableOfText(said("What this moment would bring"), ["", *names], whole, range(1, len(names) + 1)),
        TableOfText(
            said(f"Firms: who wins and who loses against {names[0]}"),
            [said(name) for name in header],
            _of_firms(answer, names),
            range(2, 9),
        ),
    ]
    for situation, prospect in zip(answer.situations, answer.prospects, strict=True):
        tables += _of_jobs(answer, situation, prospect, most)
    return [table for table in tables if table.rows]


def _of_firms(answer: Answer, names: Sequence[str]) -> list[list[str]]:
    base, rows = answer.prospects[0], []
    words = [{found.firm: found.verdict for found in firm_changes(base, one)} for one in answer.prospects[1:]]
    firms = {firm for one in answer.prospects for firm in one.firms}
    for firm in sorted(firms, key=answer.present.firms.__getitem__):
        for name, one, word in zip(names, answer.prospects, [{}, *words], strict=True):
            row = [answer.present.firms[firm], name, *_figures(one.firms.get(firm, NOBODY))]
            rows.append([*row, said(word[firm]) if word else ""])
    return rows


def _figures(firm: FirmOutlook) -> list[str]:
    return [
        f"{firm.starts:,}",
        f"{firm.room_is_made:,}",
        f"{firm.jobs - firm.starts - firm.room_is_made:,}",
        _wait(firm.median_wait_ms),
        _wait(firm.p90_wait_ms),
        f"{firm.devices:,.4g}",
        f"{firm.nano_cny_per_hour / NANO:,.2f}",
    ]


def _of_jobs(answer: Answer, situation: Situation, prospect: Prospect, most: int) -> list[TableOfText]:
    name, before = shown_name(situation.name), answer.prospects[0]
    stops = [
        [
            _short(job.job_id),
            _queue(answer, job.shape),
            f"{job.devices} {job.model}",
            "-" if stop.for_job is None else _short(stop.for_job),
            _again(prospect, job.job_id),
            said(stop.sentence),
        ]
        for stop, job in stopped_jobs(prospect)[:most]
    ]
    header = [said(head) for head in ("job", "queue", "devices", "for job", "goes on", "why")]
    tables = [TableOfText(said(f"Running jobs that stop: {name}"), header, stops)]
    if prospect is not before:
        rows = [
            [
                _short(change.job_id),
                _queue(answer, change.after.shape),
                str(change.after.shape.devices),
                _told(change.before),
                _told(change.after),
                _why(change),
            ]
            for change in most_changed(before, prospect, most)
        ]
        header = [said("job"), said("queue"), said("devices"), shown_name(answer.situations[0].name), name]
        header.append(said("why it waits, or waited"))
        tables.append(TableOfText(said(f"Jobs that change most: {name}"), header, rows, range(2, 3)))
    return tables


def _short(job_id: JobId) -> str:
    """As `suanli jobs` shows it, and takes it."""
    return job_id.rpartition("-")[2]


def _queue(answer: Answer, shape: Shape) -> str:
    return f"{answer.present.firms[shape.queue.firm_id]}/{shape.queue.name}"


def _wait(wait_ms: int | None) -> str:
    return "-" if wait_ms is None else told_time(wait_ms / 1000)


def _told(outlook: Outlook) -> str:
    if outlook.placement is not None:
        return said(f"starts on {outlook.placement.device_model}")
    if outlook.wait_ms is None:
        return said("nobody knows when")
    after = told_time(outlook.wait_ms / 1000)
    room = outlook.fate is Fate.ROOM_IS_MADE
    return said(f"room is made; {after} from now" if room else f"{after} from now")


def _again(prospect: Prospect, job_id: JobId) -> str:
    """When a job that stops starts again."""
    outlook = None if prospect.then is None else prospect.then.outlooks.get(job_id)
    return "-" if outlook is None else _told(outlook)


def _why(change: JobChange) -> str:
    """Why it waits; where it starts now, why it has waited; where it is told the same, what it waited for, too."""
    was, now = (said(_first_reason(outlook)) for outlook in (change.before, change.after))
    same_told = _told(change.before) == _told(change.after)
    return f"{was} -> {now}" if same_told and was and now and was != now else now or was


def _first_reason(outlook: Outlook) -> str:
    return outlook.why.reasons[0].sentence if outlook.why is not None and outlook.why.reasons else ""


_LINES: Sequence[tuple[str, Callable[[FirmOutlook], str]]] = (
    ("jobs that wait", lambda firm: f"{firm.jobs:,}"),
    ("of them start now", lambda firm: f"{firm.starts:,}"),
    ("of them get room that others make", lambda firm: f"{firm.room_is_made:,}"),
    ("running jobs that stop", lambda firm: f"{firm.stopped:,}"),
    ("told start, median / 90 %", lambda firm: f"{_wait(firm.median_wait_ms)} / {_wait(firm.p90_wait_ms)}"),
    ("nobody knows when they start", lambda firm: f"{firm.untold:,}"),
    ("devices in use then", lambda firm: f"{firm.devices:,.4g}"),
    ("cost of an hour then, CNY", lambda firm: f"{firm.nano_cny_per_hour / NANO:,.2f}"),
)


# --- For programs ---------------------------------------------------------------------------------------------


def document(answer: Answer, question: Question) -> dict[str, Any]:
    """The same as JSON. Firms by name; waits in milliseconds from `at`."""
    present, base = answer.present, answer.prospects[0]
    return {
        "format": FORMAT,
        "at": to_rfc3339(present.at_ms),
        "running": len(base.snapshot.running),
        "waiting": base.whole.jobs,
        "of": {
            "changes": [file_of(path) for path in question.changes],
            "profiles": list(question.profiles),
            "version": version("suanli-scheduler"),
        },
        "read_s": round(answer.read_s, 3),
        "planned_s": round(answer.planned_s, 3),
        "situations": [
            _situation(answer, situation, prospect, question.most)
            for situation, prospect in zip(answer.situations, answer.prospects, strict=True)
        ],
        "verdicts": [
            {**asdict(found), "firm": present.firms[found.firm], "situation": situation.name}
            for situation, prospect in zip(answer.situations[1:], answer.prospects[1:], strict=True)
            for found in firm_changes(base, prospect)
        ],
    }


def _situation(answer: Answer, situation: Situation, prospect: Prospect, most: int) -> dict[str, Any]:
    firms = answer.present.firms
    return {
        "name": situation.name,
        "profile": situation.profile,
        "moves": situation.moves,
        "all": asdict(prospect.whole),
        "firms": {firms[firm]: asdict(found) for firm, found in prospect.firms.items()},
        "starts": [
            {
                **_job(answer, job_id, outlook),
                "device_model": outlook.placement.device_model,
                "pool": outlook.placement.pool,
                "placed_devices": sum(len(task.device_ids) for task in outlook.placement.tasks),
            }
            for job_id, outlook in prospect.outlooks.items()
            if outlook.placement is not None
        ],
        "stops": [
            {
                "job_id": stop.job_id,
                "firm": firms[job.shape.queue.firm_id],
                "queue": job.shape.queue.name,
                "devices": job.devices,
                "device_model": job.model,
                "cause": stop.cause.value,
                "for_job": stop.for_job,
                "lost_ms": stop.lost_ms,
                "sentence": stop.sentence,
                "again": None if prospect.then is None else _side(job.job_id, prospect.then),
            }
            for stop, job in stopped_jobs(prospect)
        ],
        "most_changed": list(_changes(answer, prospect, most)),
    }


def _changes(answer: Answer, prospect: Prospect, most: int) -> Iterable[dict[str, Any]]:
    for change in most_changed(answer.prospects[0], prospect, most):
        yield {
            **_job(answer, change.job_id, change.after),
            "before": _side(change.job_id, answer.prospects[0]),
            "after": _side(change.job_id, prospect),
        }


def _side(job_id: JobId, prospect: Prospect) -> dict[str, Any]:
    outlook, told = prospect.outlooks[job_id], prospect.report.starts(job_id)
    why = outlook.why
    return {
        "fate": outlook.fate.value,
        "starts_from": None if told is None else to_rfc3339(told.low_ms),
        "starts_expected": None if told is None else to_rfc3339(told.expected_ms),
        "starts_until": None if told is None else to_rfc3339(told.high_ms),
        "reasons": [] if why is None else [reason.to_json() for reason in why.reasons],
        "counterfactual": None if why is None else why.counterfactual,
    }


def _job(answer: Answer, job_id: JobId, outlook: Outlook) -> dict[str, Any]:
    queue = outlook.shape.queue
    return {
        "job_id": job_id,
        "firm": answer.present.firms[queue.firm_id],
        "queue": queue.name,
        "devices": outlook.shape.devices,
    }
