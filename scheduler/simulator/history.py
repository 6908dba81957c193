"""Suanli's own history: what `suanli admin history` writes, read back for a rehearsal.

One JSON document, as it is or in gzip: `format`, the period, nodes, queues, prices, programs, jobs.
A job has the size it asked for, the models it may use, and how long its attempts ran on which model.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from gzip import BadGzipFile
from pathlib import Path

from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod, ProjectBudget
from scheduler.domain.configuration_reading import CohortEntry, cohort_of, quota_of
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.gang_reading import read_elastic
from scheduler.domain.gangs import Gang
from scheduler.domain.ids import FirmId
from scheduler.domain.job_limits import MOST_DEVICES, MOST_SPARE_NODES
from scheduler.domain.jobs import DEFAULT_PROJECT
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.quotas import contradictions
from scheduler.domain.reading import Reader
from scheduler.domain.time import HOUR_MS
from scheduler.machine.messages import BudgetSpent
from scheduler.services.history import FORMAT
from scheduler.simulator.cluster import NodeSpec
from scheduler.simulator.traces.tables import open_bytes, unreadable

MOST_BYTES = 1 << 27  # 300,000 jobs, at some 400 bytes each
_FAR_MS = 1 << 47
_MOST_NANO_CNY = 10**18  # nine digits of yuan, as many as `suanli apply` takes


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job as it was. `run_ms`: how long it ran in all on `model`, its last device model.

    `devices` and `sizes` are with its `spares`: tasks that only keep their nodes. `held_device_ms`: devices x time of
    its attempts, spares with them, None where the export is older than that figure.
    """

    firm: str
    queue: str
    project: str
    submitted_ms: int
    devices: int
    devices_per_node: int
    sizes: Sequence[int]  # other numbers of devices at which an elastic job may run, rising
    models: tuple[str, ...]
    priority: str
    time_limit_ms: int | None
    resumable: bool
    kind: str
    model: str
    run_ms: int
    held_device_ms: int | None
    spares: int = 0

    @property
    def run_ms_at_devices(self) -> float:
        """How long the same work takes on `devices`; an elastic job may have run at other sizes."""
        if self.held_device_ms is None:
            return self.run_ms
        kept = self.spares * self.devices_per_node
        return max(self.held_device_ms - kept * self.run_ms, 1) / (self.devices - kept)


@dataclass(frozen=True, slots=True)
class PastProgram:
    """A subsidy program as far as a rehearsal needs it."""

    program_id: str
    rate_ppm: int
    domestic_only: bool
    per_firm_cap_fen: int | None


@dataclass(frozen=True, slots=True)
class History:
    """One export. `skipped`: jobs of the period that never ran, of which no run time is known."""

    from_ms: int
    to_ms: int
    nodes: tuple[NodeSpec, ...]
    queues: tuple[Queue, ...]
    cohorts: tuple[Cohort, ...]
    prices_nano_cny: Mapping[str, int]
    programs: tuple[PastProgram, ...]
    budgets: tuple[BudgetSpent, ...]  # spent when it begins
    jobs: tuple[PastJob, ...]
    skipped: int


def budgets_at(history: History, at_ms: int) -> tuple[BudgetSpent, ...]:
    """Its budgets at a moment before anything has run: of periods that began meanwhile nothing is spent."""
    return tuple(
        item
        if item.budget.period.begin_ms(at_ms) == item.budget.period.begin_ms(history.from_ms)
        else BudgetSpent(item.budget)
        for item in history.budgets
    )


def is_history(path: Path) -> bool:
    """By its name, or because it begins with a brace, as no table does: `admin history` writes under any name."""
    if path.name.lower().endswith((".json", ".json.gz")):
        return True
    try:
        with open_bytes(path) as stream:
            return stream.read(1) == b"{"
    except (OSError, EOFError, zlib.error):
        return False


def read_history(path: Path) -> History:
    """Reads an export. Raises Invalid with every problem."""
    try:
        with open_bytes(path) as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise Invalid([FieldProblem(str(path), f"more than {MOST_BYTES} bytes", "a shorter period")])
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise _no_history(path, f"no JSON in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _no_history(path, "nested too deeply") from None
    except (UnicodeDecodeError, EOFError, zlib.error, BadGzipFile) as error:
        raise _no_history(path, unreadable(error)) from None
    except ValueError:
        raise _no_history(path, "a number that is too long") from None
    except OSError as error:
        raise _no_history(path, error.strerror or str(error), "a file that can be read") from None
    return history_from_json(value, f"{path}: ")


def _no_history(path: Path, got: str, want: str = "JSON as `suanli admin history` writes it") -> Invalid:
    return Invalid([FieldProblem(str(path), got, want)])


def history_from_json(value: object, where: str = "") -> History:
    """An export from parsed JSON. Raises Invalid with every problem; of another form, with that alone."""
    reader = Reader(value, where)
    if not reader.problems:
        reader.choice("format", [FORMAT])
    if reader.problems:
        raise Invalid(reader.problems)
    history = History(
        from_ms=reader.integer("from_ms", low=0, high=_FAR_MS),
        to_ms=reader.integer("to_ms", low=0, high=_FAR_MS),
        nodes=tuple(reader.each("nodes", _node)),
        queues=tuple(reader.each("queues", _queue)),
        cohorts=tuple(map(cohort_noun, reader.each("cohorts", cohort_of))),
        prices_nano_cny=dict(reader.each("prices", _price)),
        programs=tuple(reader.each("programs", _program)),
        budgets=tuple(reader.each("budgets", _budget)),
        jobs=tuple(reader.each("jobs", _job)),
        skipped=reader.integer("jobs_never_run", 0, low=0, high=_FAR_MS),
    )
    if not history.nodes:
        reader.problem(reader.at("nodes"), "none", "at least one node")
    if not history.jobs:
        reader.problem(reader.at("jobs"), "none", "at least one job that ran")
    reader.problems += [replace(wrong, field=reader.at(wrong.field)) for wrong in _quota_problems(history)]
    reader.finish()
    return history


def _quota_problems(history: History) -> list[FieldProblem]:
    models = {node.model for node in history.nodes}
    for queue in history.queues:
        models.update(queue.nominal)
    for cohort in history.cohorts:
        models.update(cohort.nominal)
    by_name = {cohort.name: cohort for cohort in history.cohorts}
    return [
        FieldProblem(f"{type(wrong.member).__name__.lower()}s: {wrong.field}", str(wrong.got), wrong.want)
        for wrong in contradictions(history.queues, by_name, models)
    ]


def _name(reader: Reader, key: str) -> str:
    return reader.text(key, pattern=r"(?s).+", want="a name")


def _node(reader: Reader) -> NodeSpec:
    return NodeSpec(
        name=reader.text("name"),
        model=reader.text("model"),
        devices=reader.integer("devices", low=1, high=1024),
        pool=reader.text("pool"),
        fast_link_group=reader.integer("fast_link_group", 0, low=0, high=1024),
    )


def _queue(reader: Reader) -> Queue:
    quota = quota_of(reader)
    return Queue(
        QueueKey(FirmId(_name(reader, "firm")), _name(reader, "name")),
        tuple(str(pool) for pool in reader.items("pools")),
        quota.nominal,
        reader.integer("weight", 1, low=1, high=1000),
        reader.optional_text("cohort"),
        quota.borrowing,
        quota.lending,
    )


def _price(reader: Reader) -> tuple[str, int]:
    return reader.text("model"), reader.integer("price_nano_cny", low=0, high=_MOST_NANO_CNY)


def cohort_noun(entry: CohortEntry) -> Cohort:
    """A cohort as the planner has it."""
    quota = entry.quota
    return Cohort(entry.name, entry.parent, quota.nominal, quota.borrowing, quota.lending, entry.weight)


def _program(reader: Reader) -> PastProgram:
    return PastProgram(
        reader.text("program_id"),
        reader.integer("rate_ppm", low=0, high=1_000_000),
        reader.raw("domestic_only") is True,
        reader.optional_integer("per_firm_cap_fen", low=0, high=_FAR_MS),
    )


def _budget(reader: Reader) -> BudgetSpent:
    budget = ProjectBudget(
        BudgetKey(FirmId(reader.text("firm")), reader.optional_text("project") or WHOLE_FIRM),
        reader.integer("amount_nano_cny", low=0, high=_MOST_NANO_CNY),
        BudgetPeriod(reader.choice("period", list(BudgetPeriod))),
    )
    spent_nano = reader.integer("spent_nano_cny", 0, low=0, high=_MOST_NANO_CNY)
    return BudgetSpent(budget, spent_nano * HOUR_MS * WHOLE_PPM)


def _job(reader: Reader) -> PastJob:
    models = tuple(str(model) for model in reader.items("models"))
    if not models:
        reader.problem(reader.at("models"), "none", "at least one device model")
    devices = reader.integer("devices", low=1, high=MOST_DEVICES)
    per_node = reader.integer("devices_per_node", low=1, high=MOST_DEVICES)
    spare = reader.integer("spare_nodes", 0, low=0, high=MOST_SPARE_NODES)
    gang = Gang(devices, per_node, elastic=read_elastic(reader, devices, per_node), spare_nodes=spare)
    return PastJob(
        firm=_name(reader, "firm"),
        queue=_name(reader, "queue"),
        project=reader.text("project", DEFAULT_PROJECT),
        submitted_ms=reader.integer("submitted_ms", low=0, high=_FAR_MS),
        devices=gang.held_devices,
        devices_per_node=per_node,
        sizes=gang.held_sizes,
        models=models,
        priority=reader.choice("priority", ("low", "normal", "high"), "normal"),
        time_limit_ms=reader.optional_integer("time_limit_ms", low=1, high=_FAR_MS),
        resumable=reader.raw("resumable") is True,
        kind=reader.text("kind", ""),
        model=reader.text("model"),
        run_ms=reader.integer("run_ms", low=1, high=_FAR_MS),
        held_device_ms=reader.optional_integer("held_device_ms", low=1, high=_FAR_MS * MOST_DEVICES),
        spares=spare,
    )
