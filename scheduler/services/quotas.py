"""Quotas of queues and cohorts: applied from a file, checked as a whole tree, and shown with what is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise
from scheduler.domain.configuration_reading import (
    COMPUTE_TFLOPS,
    GFLOPS_PER_TFLOPS,
    CohortEntry,
    Quota,
    shown_quota,
)
from scheduler.domain.errors import FieldProblem
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.quotas import Contradiction, beyond_devices, contradictions, parent_of
from scheduler.domain.suggestions import one_of
from scheduler.planner import PlannerConfig
from scheduler.planner.sharing import Sharing, sharing_of
from scheduler.services.application import Application
from scheduler.storage.cluster_rows import cohort_noun, queue_noun
from scheduler.storage.tables import CohortRow, FirmRow


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """One limit: of a queue (or, for operators, a cohort) on a device model or on compute.

    Devices, or TFLOPS where `key` is compute_tflops. None: no limit.
    """

    firm: str | None  # of a queue
    name: str
    cohort: str | None  # the cohort above it
    key: str
    nominal: int
    held: int
    available: int | None  # what it may still take, own or borrowed
    borrowing: int | None
    lending: int | None


# --- Applying -------------------------------------------------------------------------------------------------


def quota_columns(quota: Quota) -> dict[str, Any]:
    """The columns that queues and cohorts share."""
    return {
        "nominal": dict(quota.nominal),
        "borrowing": dict(quota.borrowing),
        "lending": dict(quota.lending),
    }


def note_quota(
    run: Application, kind: str, name: str, was: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> bool:
    """As `Application.note`, of a queue or cohort: its amounts are told as the file has them."""
    return run.note(kind, name, None if was is None else _as_in_file(was), _as_in_file(now))


def _as_in_file(columns: Mapping[str, Any]) -> dict[str, Any]:
    amounts = ("nominal", "borrowing", "lending")
    return {name: shown_quota(value) if name in amounts else value for name, value in columns.items()}


async def apply_cohorts(run: Application, cohorts: Sequence[CohortEntry]) -> None:
    """Writes the cohorts of the file. Whether the tree makes sense is asked when the queues hang in it."""
    known = {row.name: row for row in await run.session.scalars(select(CohortRow))}
    names = sorted({*known, *(cohort.name for cohort in cohorts)})
    parents: dict[str, str | None] = {}
    for number, cohort in enumerate(cohorts):
        run.quotas_at[f"cohort {cohort.name}"] = f"cohorts[{number}]"
        if cohort.parent is not None and cohort.parent not in names:
            run.refuse(f"cohorts[{number}].parent", cohort.parent, one_of(cohort.parent, names))
            continue
        now: dict[str, Any] = {
            **quota_columns(cohort.quota), "weight": cohort.weight, "parent": cohort.parent,
        }  # fmt: skip
        row = known.get(cohort.name)
        was = None if row is None else {name: getattr(row, name) for name in now}
        if note_quota(run, "cohort", cohort.name, was, now):
            parents[cohort.name] = now.pop("parent")  # written when all of them are there
            statement = upsert(CohortRow).values(name=cohort.name, **now)
            await run.session.execute(
                statement.on_conflict_do_update(index_elements=[CohortRow.name], set_=now)
            )
    for name, parent in parents.items():
        await run.session.execute(update(CohortRow).where(CohortRow.name == name).values(parent=parent))


async def cohort_is_there(run: Application, name: str | None, where: str) -> bool:
    """Whether a queue may hang in the cohort; refuses it where not."""
    if name is None:
        return True
    known = sorted(await run.session.scalars(select(CohortRow.name)))
    if name not in known:
        run.refuse(where, name, one_of(name, known))
    return name in known


async def check_quotas(run: Application) -> None:
    """Refuses a tree that contradicts itself, by the fields of the file, or of what was there before. Warns of quotas
    that are more than there is.
    """
    if not run.quotas_at or run.problems:
        return
    queues, cohorts, firms = await _tree(run.session)
    models = sorted(run.catalogue.models)
    for wrong in contradictions(queues.values(), cohorts, models):
        name = _name(wrong, firms)
        where = f"{run.quotas_at.get(name, name)}.{wrong.field}"
        want = wrong.want
        if wrong.got == wrong.field.partition(".")[2]:  # a name that is no model
            want = one_of(str(wrong.got), models, want)
        run.refuse(where, wrong.got, want)
    if run.problems:
        return
    devices: dict[str, dict[str, int]] = {}
    for row in await run.session.execute(_DEVICES):
        devices.setdefault(row.pool, {})[row.model] = row.devices
    unknown = PlannerConfig().unknown_fp16_gflops
    for wrong in beyond_devices(
        queues.values(), cohorts, devices, lambda model: run.catalogue.fp16_gflops(model) or unknown
    ):
        name = _name(wrong, firms)
        run.warnings.append(
            FieldProblem(f"{run.quotas_at.get(name, name)}.{wrong.field}", str(wrong.got), wrong.want)
        )


_DEVICES = text(
    "SELECT n.pool, d.model, count(*) AS devices FROM devices d JOIN nodes n USING (node_id) GROUP BY n.pool, d.model"
)


def _name(wrong: Contradiction, firms: Mapping[str, str]) -> str:
    member = wrong.member
    if isinstance(member, Queue):
        return f"queue {firms[member.key.firm_id]}/{member.key.name}"
    return f"cohort {member.name}"


async def _tree(
    session: AsyncSession,
) -> tuple[dict[QueueKey, Queue], dict[str, Cohort], dict[str, str]]:
    queues = [queue_noun(row) for row in await session.execute(text("SELECT * FROM queues"))]
    cohorts = [cohort_noun(row) for row in await session.execute(text("SELECT * FROM cohorts"))]
    firms = {row.firm_id: row.name for row in await session.execute(select(FirmRow.firm_id, FirmRow.name))}
    queues.sort(key=lambda queue: (firms[queue.key.firm_id], queue.key.name))
    cohorts.sort(key=lambda cohort: cohort.name)
    return {queue.key: queue for queue in queues}, {cohort.name: cohort for cohort in cohorts}, firms


# --- Showing --------------------------------------------------------------------------------------------------

_HELD = text(
    "SELECT j.firm_id, j.queue, t.device_model,"
    " count(*) FILTER (WHERE d.share_ppm = 1000000) AS whole,"
    " coalesce(sum(d.share_ppm) FILTER (WHERE d.share_ppm < 1000000), 0) AS parts_ppm FROM allocation_devices d"
    " JOIN allocations a USING (firm_id, allocation_id) JOIN attempts t USING (firm_id, job_id, attempt)"
    " JOIN jobs j USING (firm_id, job_id)"
    " WHERE d.live AND a.stop_reason IS DISTINCT FROM 'node_lost' GROUP BY 1, 2, 3"
)


async def list_quotas(
    session: AsyncSession, principal: Principal, catalogue: Catalogue
) -> Sequence[QuotaLine]:
    """Every limit with what is held of it; a firm's people see their own queues, operators the whole tree.

    The planner's own arithmetic. Cost: the live allocations, and members x keys.
    """
    authorise(principal, Action.READ_CATALOGUE)
    queues, cohorts, firms = await _tree(session)
    held: dict[QueueKey, dict[str, int]] = {}
    parts: dict[QueueKey, dict[str, int]] = {}
    for row in await session.execute(_HELD):
        key = QueueKey(FirmId(row.firm_id), row.queue)
        held.setdefault(key, {})[row.device_model] = row.whole
        parts.setdefault(key, {})[row.device_model] = int(row.parts_ppm)
    sharing = sharing_of(queues.values(), cohorts.values(), catalogue, held, parts)
    lines = [
        line
        for queue in queues.values()
        if principal.firm_id in {None, queue.key.firm_id}
        for line in _lines(queue, firms[queue.key.firm_id], sharing)
    ]
    if principal.firm_id is None:
        lines.extend(line for cohort in cohorts.values() for line in _lines(cohort, None, sharing))
    return lines


def _lines(member: Queue | Cohort, firm: str | None, sharing: Sharing) -> list[QuotaLine]:
    name = member.key.name if isinstance(member, Queue) else member.name
    return [
        QuotaLine(
            firm=firm,
            name=name,
            cohort=parent_of(member),
            key=COMPUTE_TFLOPS if key == COMPUTE else key,
            nominal=_shown(key, sharing.nominal(member, key)),
            held=_shown(key, sharing.used(member, key)),
            available=_shown_limit(key, sharing.available(member, key)),
            borrowing=_shown_limit(key, member.borrowing.get(key)),
            lending=_shown_limit(key, member.lending.get(key)),
        )
        for key in sharing.keys(member)
    ]


def _shown(key: str, amount: int) -> int:
    return amount // GFLOPS_PER_TFLOPS if key == COMPUTE else amount


def _shown_limit(key: str, amount: int | None) -> int | None:
    return None if amount is None else max(0, _shown(key, amount))
