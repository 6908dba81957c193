"""`suanli simulate`: reads, runs every situation, prints them side by side, writes pictures and JSON."""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.time import to_rfc3339
from scheduler.simulator.clusters import read_cluster
from scheduler.simulator.history import budgets_at, is_history, read_history
from scheduler.simulator.pictures import NoPictures, Picture, draw, files_of, page, shown_name
from scheduler.simulator.rehearsal import Outcome, rehearse, verdicts
from scheduler.simulator.situations import (
    BASE,
    Situation,
    changed,
    notes_of,
    require_different_names,
    waits_of,
    with_profile,
)
from scheduler.simulator.tables import TableOfText, file_of, shown, told_time
from scheduler.simulator.traces.tables import BadTrace
from scheduler.simulator.workload import Draft, begin_of, drafts_of_history, drafts_of_table, queues_for
from suanli.sentences.words import listed, said

_REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    jobs: Path
    cluster: Path | None = None
    cluster_name: str | None = None
    changes: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()
    seed: int = 0
    first: int | None = None
    output: Path | None = None
    as_json: bool = False
    alone: bool = False

    @property
    def files(self) -> list[Path]:
        """What it writes below `output`; pictures only where they can be drawn."""
        if self.output is None:
            return []
        names = dict.fromkeys([BASE, *(change.stem for change in self.changes), *self.profiles])
        return [self.output / _REPORT, *(path for name in names for path in files_of(name, self.output))]


def simulate(request: Request, out: Console, err: Console) -> None:
    """Raises Invalid and BadTrace for what cannot be read, before anything runs."""
    base, drafts, note = _read(request)
    if request.output is not None:
        _make(request.output)
    situations = [base]
    situations += [changed(base, path) for path in request.changes]
    situations += [with_profile(base, name, name) for name in request.profiles if name != base.profile]
    require_different_names(situations)
    (err if request.as_json else out).print(said(f"seed {request.seed}"), highlight=False)
    for line in filter(None, (note, *notes_of(situations), *waits_of(situations))):
        err.print(said(line), highlight=False)
    if request.alone and not any(queue.nominal for one in situations for queue in one.queues):
        err.print(said("--alone changes nothing: no firm has a nominal quota"), highlight=False)
    outcomes = [_run(situation, drafts, request, err) for situation in situations]
    tables = tables_of(outcomes)
    if request.as_json:
        out.file.write(json.dumps(document(request, outcomes), ensure_ascii=False) + "\n")
    else:
        for table in tables:
            out.print(table.title, style="italic", highlight=False)
            out.print(shown(table))
    if request.output is not None:
        _write(outcomes, [_inputs(request), *tables], request.output, err)


def _read(request: Request) -> tuple[Situation, list[Draft], str]:
    if not request.jobs.exists():
        raise BadTrace(f"{request.jobs}: {os.strerror(errno.ENOENT)}")
    if not request.jobs.is_file():
        raise Invalid(
            [FieldProblem("jobs", str(request.jobs), "a file: of `admin history`, or a table of jobs")]
        )
    if is_history(request.jobs):
        history = read_history(request.jobs)
        catalogue = load_catalogue()
        drafts = drafts_of_history(history, catalogue, request.first)
        base = Situation(
            BASE,
            catalogue,
            history.nodes,
            history.queues,
            history.cohorts,
            history.prices_nano_cny,
            history.programs,
            budgets=budgets_at(history, begin_of(history)),
            origin_ms=begin_of(history),
        )
        if request.cluster is not None:
            described = read_cluster(request.cluster, request.cluster_name)
            base = replace(base, catalogue=described.catalogue, nodes=described.nodes)
        note = (
            f"jobs that never ran, and of which no run time is known: {history.skipped} left out"
            if history.skipped
            else ""
        )
        return base, drafts, note
    if request.cluster is None:
        raise Invalid(
            [FieldProblem("--cluster", "nothing", "a cluster file: a table of jobs names no nodes")]
        )
    described = read_cluster(request.cluster, request.cluster_name)
    drafts = drafts_of_table(request.jobs, described, request.first)
    pools = sorted({node.pool for node in described.nodes})
    base = Situation(
        BASE,
        described.catalogue,
        described.nodes,
        tuple(queues_for(drafts, pools)),
        prices_nano_cny=described.prices_nano_cny,
    )
    return base, drafts, ""


def _run(situation: Situation, drafts: Sequence[Draft], request: Request, err: Console) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task(shown_name(situation.name), total=len(drafts))

        def tell(done: int, of: int) -> None:
            progress.update(bar, completed=done, total=of)

        return rehearse(situation, drafts, request.seed, alone=request.alone, on_progress=tell)


def tables_of(outcomes: Sequence[Outcome]) -> list[TableOfText]:
    """What a person reads, in the reader's language: the whole, each firm, and who wins and loses."""
    names = [shown_name(outcome.situation.name) for outcome in outcomes]
    whole = [[said(label), *[said(show(outcome)) for outcome in outcomes]] for label, show in _LINES]
    firms = [
        [
            firm,
            *[
                "-" if found is None
                else f"{told_time(found.wait.mean_s)} / {told_time(found.jct.mean_s)} / "
                f"{found.cost_cny - outcome.subsidy_cny.get(firm, 0.0):z,.2f}"
                for outcome in outcomes
                for found in [outcome.summary.firms.get(firm)]
            ],
        ]
        for firm in sorted({firm for outcome in outcomes for firm in outcome.summary.firms})
    ]  # fmt: skip
    header, figures = [said("firm"), *names], range(1, len(names) + 1)
    tables = [
        TableOfText(said("All jobs"), ["", *names], whole, figures),
        TableOfText(said("Firms: average wait / completion time / net cost in CNY"), header, firms, figures),
    ]
    if any(outcome.against_alone for outcome in outcomes):
        owners = sorted({firm for outcome in outcomes for firm in outcome.against_alone or ()})
        alone = [[firm, *[_ratio((o.against_alone or {}).get(firm)) for o in outcomes]] for firm in owners]
        title = said("Firms: completion time against alone on their quota")
        tables.append(TableOfText(title, header, alone, figures))
    if len(outcomes) > 1:
        rows = [
            [
                v.firm,
                shown_name(v.situation),
                f"{100 * v.jct_change:+z.1f} %",
                f"{v.cost_change_cny:+z,.2f}",
                said(v.verdict),
            ]
            for v in verdicts(outcomes)
        ]
        title = said(f"Who wins and who loses against {names[0]}")
        header = [said(name) for name in ("firm", "under", "completion time", "net cost, CNY", "")]
        tables.append(TableOfText(title, header, rows, range(1, len(header))))
    return tables


def _inputs(request: Request) -> TableOfText:
    """What a page must name for anybody to run the same again."""
    told = _of(request)
    files = [("jobs", told["jobs"]), ("cluster (--cluster)", told["cluster"])]
    files += [("change (--change)", change) for change in told["changes"]]
    given = [(said(name), f"{file['file']}, sha256 {file['sha256']}") for name, file in files if file]
    given.append((said("seed"), str(request.seed)))
    options = (
        ("cluster's name (--cluster-name)", request.cluster_name),
        ("profiles (--profile)", listed(request.profiles)),
        ("first jobs alone (--first)", request.first),
        ("each firm alone too (--alone)", "yes" if request.alone else ""),
    )
    given += [(said(name), said(str(value))) for name, value in options if value]
    given.append((said("version"), f"suanli {told['version']}"))
    return TableOfText(said("What was rehearsed"), ["", ""], [list(row) for row in given])


def _of(request: Request) -> dict[str, Any]:
    """The files by their bytes, and what was chosen; nothing else decides what comes out."""
    return {
        "jobs": file_of(request.jobs),
        "cluster": None if request.cluster is None else file_of(request.cluster),
        "cluster_name": request.cluster_name,
        "changes": [file_of(path) for path in request.changes],
        "profiles": list(request.profiles),
        "first": request.first,
        "alone": request.alone,
        "version": version("suanli-scheduler"),
    }


def document(request: Request, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "seed": request.seed,
        "of": _of(request),
        "situations": [
            {
                "name": outcome.situation.name,
                "profile": outcome.situation.profile,
                "left_out": outcome.left_out,
                "prices_begin": _moment(outcome.situation.prices_begin_ms),
                "summary": asdict(outcome.summary),
                "subsidy_cny": dict(outcome.subsidy_cny),
                "against_alone": None if outcome.against_alone is None else dict(outcome.against_alone),
            }
            for outcome in outcomes
        ],
        "verdicts": [asdict(verdict) for verdict in verdicts(outcomes)],
    }


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_rfc3339(at_ms)


def _make(folder: Path) -> None:
    """Before anything runs: a rehearsal takes long."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise BadTrace(f"--output: {folder} cannot be made, want a folder that can be") from None


def _write(outcomes: Sequence[Outcome], tables: Sequence[TableOfText], folder: Path, err: Console) -> None:
    pictures: list[Picture] = []
    try:
        for outcome in outcomes:
            pictures += draw(outcome, folder)
    except NoPictures as error:
        err.print(said(str(error)), highlight=False)
    report = folder / _REPORT
    report.write_text(page(tables, pictures), encoding="utf-8")
    wrote = f"wrote {report}" + (f" and {len(pictures)} pictures" if pictures else "")
    err.print(said(wrote), highlight=False)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{100 * (value - 1):+z.1f} %"


def _worst_alone(outcome: Outcome) -> str:
    found = outcome.against_alone or {}
    worst = max(found, key=lambda firm: found[firm], default=None)
    return "-" if worst is None else f"{worst} {_ratio(found[worst])}"


def _jobs(number: int) -> str:
    return f"{number:,} jobs" if number else "none"


def _never_start(outcome: Outcome) -> str:
    by_reason = outcome.summary.never_start
    whole = said(_jobs(sum(by_reason.values())))
    return whole + (f" ({listed(f'{said(why)} {n}' for why, n in by_reason.items())})" if by_reason else "")


def _stops(outcome: Outcome) -> str:
    return listed(f"{said(cause)} {n}" for cause, n in sorted(outcome.summary.stops.items())) or "none"


def _lost(outcome: Outcome) -> str:
    by_cause = sorted(outcome.summary.lost_to.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{said(cause)} {100 * share:.2f} %" for cause, share in by_cause if round(share, 4)]
    return f"{100 * outcome.summary.lost_share:.2f} %" + (f" ({', '.join(parts)})" if parts else "")


def _fairness(outcome: Outcome) -> str:
    slowdowns = [firm.slowdown for firm in outcome.summary.firms.values() if firm.jobs]
    return f"{max(slowdowns):.2f} / {min(slowdowns):.2f}"


_LINES = (
    ("jobs", lambda o: f"{o.summary.jobs:,}" + (f" ({o.left_out} fit nowhere)" if o.left_out else "")),
    ("never paid for", lambda o: _jobs(o.summary.unfinished - sum(o.summary.never_start.values()))),
    ("never start", _never_start),
    ("profile", lambda o: o.situation.profile),
    ("wait, average / p99", lambda o: f"{told_time(o.summary.wait.mean_s)} / {told_time(o.summary.wait.p99_s)}"),
    ("wait, longest", lambda o: told_time(o.summary.wait.longest_s)),
    ("completion, average / p99", lambda o: f"{told_time(o.summary.jct.mean_s)} / {told_time(o.summary.jct.p99_s)}"),
    ("makespan", lambda o: told_time(o.summary.makespan_s)),
    ("devices in use", lambda o: f"{100 * o.summary.utilisation:.1f} %"),
    ("idle while jobs wait, on nodes partly in use", lambda o: f"{100 * o.summary.fragmentation:.1f} %"),
    ("fairness: worst / best firm's slowdown", _fairness),
    ("worst firm against alone (--alone)", _worst_alone),
    ("stops", _stops),
    ("work done twice", _lost),
    ("time lost to restarts", lambda o: f"{100 * o.summary.overhead_share:.2f} %"),
    ("domestic share of compute", lambda o: f"{100 * o.summary.domestic_share:.1f} %"),
    ("cost, CNY", lambda o: f"{o.summary.cost_cny:,.2f}"),
    ("subsidies, CNY", lambda o: f"{sum(o.subsidy_cny.values()):,.2f}"),
    (
        "started inside the announced interval",
        lambda o: "-" if o.summary.coverage is None
        else f"{100 * o.summary.coverage:.0f} % of {o.summary.announced}",
    ),
    ("decision, median / p99", lambda o: f"{o.summary.decision_p50_ms:.1f} / {o.summary.decision_p99_ms:.1f} ms"),
)  # fmt: skip
