"""`suanli admin what-if`: the live queue as it is and under proposed changes, side by side. Nothing is changed."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.ids import JobId
from scheduler.domain.time import to_rfc3339
from scheduler.planner import PlannerConfig
from scheduler.planner.comparison import (
    Fate,
    FirmOutlook,
    JobChange,
    Outlook,
    Prospect,
    most_changed,
    stopped_jobs,
    verdicts,
)
from scheduler.planner.garbage import uncollected
from scheduler.services.present import Present, read_present
from scheduler.simulator.pictures import shown_name
from scheduler.simulator.present import prospect_of, situations_of
from scheduler.simulator.situations import Situation, require_different_names, with_profile
from scheduler.simulator.tables import TableOfText, file_of, shown, told_time
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
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The present and every change of it, with what the planner makes of each; the present first."""

    present: Present
    situations: Sequence[Situation]
    prospects: Sequence[Prospect]
    read_s: float
    planned_s: float


async def ask(database: Database, question: Question, config: PlannerConfig) -> Answer:
    """Reads the present in one moment, in which PostgreSQL refuses to write, and plans it once for each column.

    Raises Invalid for a change that cannot be, DatabaseAway. Cost: a start of the controller, then a cycle anew and the
    told starts of all waiting jobs for each column.
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
    read_s = time.monotonic()
    with uncollected():
        prospects = [prospect_of(present, base, wanted, config) for wanted in situations]
        for prospect in prospects:
            _ = prospect.outlooks
    return Answer(present, situations, prospects, read_s - begun_s, time.monotonic() - read_s)


def show(answer: Answer, question: Question, out: Console) -> None:
    """For the person, or with `as_json` for a program."""
    if question.as_json:
        out.file.write(json.dumps(document(answer, question), ensure_ascii=False) + "\n")
        return
    whole = answer.prospects[0].whole
    running = len(answer.prospects[0].snapshot.running)
    at = to_rfc3339(answer.present.at_ms)
    out.print(said(f"the present at {at}: {running} jobs run, {whole.jobs} jobs wait"), highlight=False)
    for table in tables_of(answer, question.most):
        out.print(table[0], style="italic", highlight=False)
        out.print(shown(table))


# --- For people -----------------------------------------------------------------------------------------------


def tables_of(answer: Answer, most: int) -> list[TableOfText]:
    """The whole, each firm, who wins and loses, then of each change the jobs."""
    names = [shown_name(situation.name) for situation in answer.situations]
    changes = list(zip(names[1:], answer.prospects[1:], strict=True))
    pairs = list(zip(answer.situations, answer.prospects, strict=True))
    whole = [[said(label), *[said(tell(one.whole)) for one in answer.prospects]] for label, tell in _LINES]
    whole.insert(0, [said("profile"), *[situation.profile for situation in answer.situations]])
    firms = sorted(
        {firm for one in answer.prospects for firm in one.firms}, key=answer.present.firms.__getitem__
    )
    of_firms = [
        [answer.present.firms[firm], *[_firm(one.firms.get(firm)) for one in answer.prospects]]
        for firm in firms
    ]
    tables: list[TableOfText] = [
        (said("What this moment would bring"), ["", *names], whole),
        (
            said("Firms: start now + room is made / wait / told start, median and 90 % / devices"),
            [said("firm"), *names],
            of_firms,
        ),
        (
            said(f"Who wins and who loses against {names[0]}"),
            [said(name) for name in ("firm", "under", "told start", "devices", "price of a device-hour", "")],
            [row for name, after in changes for row in _verdicts(answer, name, after)],
        ),
    ]  # fmt: skip
    for situation, prospect in pairs:
        tables += _of_jobs(answer, situation, prospect, most)
    return [table for table in tables if table[2]]


def _verdicts(answer: Answer, name: str, after: Prospect) -> list[list[str]]:
    return [
        [
            answer.present.firms[found.firm],
            name,
            _moved(found.wait_change_ms),
            f"{found.devices_change:+z.4g}",
            f"{100 * found.cost_change:+z.1f} %",
            said(found.verdict),
        ]
        for found in verdicts(answer.prospects[0], after)
    ]


def _of_jobs(answer: Answer, situation: Situation, prospect: Prospect, most: int) -> list[TableOfText]:
    name, before = shown_name(situation.name), answer.prospects[0]
    stops = [
        [
            job.job_id,
            f"{answer.present.firms[job.shape.queue.firm_id]}/{job.shape.queue.name}",
            f"{job.devices} {job.model}",
            stop.for_job or "-",
            said(stop.sentence),
        ]
        for stop, job in stopped_jobs(prospect)[:most]
    ]
    tables = [
        (
            said(f"Running jobs that stop: {name}"),
            [said(head) for head in ("job", "queue", "devices", "for job", "why")],
            stops,
        )
    ]
    if prospect is not before:
        rows = [
            [
                change.job_id,
                f"{answer.present.firms[change.after.shape.queue.firm_id]}/{change.after.shape.queue.name}",
                str(change.after.shape.devices),
                _told(change.before),
                _told(change.after),
                said(_why(change)),
            ]
            for change in most_changed(before, prospect, most)
        ]
        header = [said("job"), said("queue"), said("devices"), shown_name(answer.situations[0].name), name]
        tables.append(
            (said(f"Jobs that change most: {name}"), [*header, said("why it waits, or waited")], rows)
        )
    return tables


def _firm(firm: FirmOutlook | None) -> str:
    if firm is None:
        return "-"
    waits = firm.jobs - firm.starts - firm.room_is_made
    times = " ".join(map(_wait, (firm.median_wait_ms, firm.p90_wait_ms)))
    return f"{firm.starts} + {firm.room_is_made} / {waits} / {times} / {firm.devices:.4g}"


def _wait(wait_ms: int | None) -> str:
    return "-" if wait_ms is None else told_time(wait_ms / 1000)


def _moved(change_ms: float) -> str:
    sign = "-" if change_ms < 0 else "+"
    return f"{sign}{told_time(abs(change_ms) / 1000)}"


def _told(outlook: Outlook) -> str:
    if outlook.placement is not None:
        return said(f"starts on {outlook.placement.device_model}")
    if outlook.wait_ms is None:
        return said("nobody knows when")
    after = told_time(outlook.wait_ms / 1000)
    return said(f"room is made; in {after}" if outlook.fate is Fate.ROOM_IS_MADE else f"in {after}")


def _why(change: JobChange) -> str:
    """Why it waits; where it starts now, why it has waited."""
    waits = change.after if change.after.why is not None else change.before
    return waits.why.reasons[0].sentence if waits.why is not None and waits.why.reasons else ""


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
            for found in verdicts(base, prospect)
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
            }
            for stop, job in stopped_jobs(prospect)
        ],
        "most_changed": list(_changes(answer, prospect, most)),
    }


def _changes(answer: Answer, prospect: Prospect, most: int) -> Iterable[dict[str, Any]]:
    for change in most_changed(answer.prospects[0], prospect, most):
        sides = (("before", change.before, answer.prospects[0]), ("after", change.after, prospect))
        yield {
            **_job(answer, change.job_id, change.after),
            **{name: _side(change.job_id, outlook, of) for name, outlook, of in sides},
        }


def _side(job_id: JobId, outlook: Outlook, prospect: Prospect) -> dict[str, Any]:
    told = prospect.report.starts(job_id)
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
