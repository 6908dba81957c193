"""What would become of a job that is not submitted: on what, when and at what price."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.authorise import Action, Principal, authorise, require_firm
from scheduler.domain.batches import references_beyond, wrong_references
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.ids import FirmId, Ids, JobId
from scheduler.domain.job_warnings import estimated_seconds, late, warnings_of
from scheduler.domain.jobs import Dependencies, JobSpec
from scheduler.machine import apply, take_snapshot
from scheduler.machine.messages import JobSubmitted
from scheduler.planner import Plan, PlannerConfig, Report, Snapshot
from scheduler.planner.garbage import uncollected
from scheduler.services.batches import existing_references
from scheduler.services.possible import Known, in_own_project, require_possible
from scheduler.storage.cluster import load_state
from scheduler.storage.engine import Database
from scheduler.storage.tables import PriceVersionRow
from scheduler.storage.uninterrupted import whole

_TRIAL = JobId("trial")
_NANO = 1_000_000_000
_HOUR_S = 3_600
_MOST_LOOKING_S = 10.0  # for what trips the planner: other trials wait meanwhile

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VariantPrice:
    """What a variant costs; None where nobody priced the model, or no time is known."""

    model: str
    device_hour_cny: str | None
    gang_hour_cny: str | None
    at_most_cny: str | None  # for the time limit, of one attempt
    estimate_cny: str | None  # for the estimate, as far as the time limit lets it run


@dataclass(frozen=True, slots=True)
class Trial:
    """The answer."""

    spec: JobSpec
    starts_now: bool
    device_model: str | None  # where it would start now
    pool: str | None
    position: int | None  # in its queue, where it would wait
    reasons: tuple[Mapping[str, object], ...]
    counterfactual: str | None
    starts_by_ms: int | None  # as the time limits of the work before it promise; None: they do not
    prices: tuple[VariantPrice, ...]
    starts: tuple[int, int, int] | None  # with 80 %: low, expected, high, ms
    warnings: tuple[FieldProblem, ...]  # what the job says, and can hardly mean


class Trials:
    """One at a time, each in a thread beside the API's loop, and of a firm one that waits for its turn: others of it
    wait behind that, and no firm behind them. Cost: O(what is live), and one cycle of the planner.
    """

    def __init__(
        self, database: Database, catalogue: Catalogue, known: Known, ids: Ids, config: PlannerConfig
    ) -> None:
        self.database = database
        self.catalogue = catalogue
        self.known = known
        self.ids = ids
        self._config = config
        self._one = asyncio.Semaphore(1)
        self._firms: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(1))

    async def of(self, principal: Principal, spec: JobSpec, now_ms: int) -> Trial:
        """Nothing is stored. Raises what a submission would raise: Invalid, NotSupported, Impossible."""
        authorise(principal, Action.SUBMIT_JOB)
        firm_id = require_firm(principal)
        spec = await in_own_project(self.database, principal, firm_id, spec, self.known, now_ms)
        spec, _ = await require_possible(self.database, firm_id, spec, self.catalogue, self.known, now_ms)
        await self._require_dependencies(firm_id, spec)
        async with self._firms[firm_id], self._one:
            # To its end, whoever hangs up meanwhile: else there would be more at a time than one.
            return await whole(asyncio.to_thread(self._beside, firm_id, spec, now_ms))

    async def _require_dependencies(self, firm_id: str, spec: JobSpec) -> None:
        if not spec.dependencies.all:
            return
        alone = {0: spec}
        async with self.database.read() as session:
            existing = await existing_references(session, firm_id, references_beyond(alone))
        for problems in wrong_references(alone, existing).values():
            raise Invalid(problems)

    def _beside(self, firm_id: str, spec: JobSpec, now_ms: int) -> Trial:
        """In a thread: putting the live cluster together is a second of Python's time for ten thousand jobs."""
        with (
            uncollected()
        ):  # a collection would walk the whole cluster, and hold every other thread meanwhile
            return asyncio.run(self._tried(firm_id, spec, now_ms))

    async def _tried(self, firm_id: str, spec: JobSpec, now_ms: int) -> Trial:
        database = Database(self.database.url, "trial", pool_size=1)  # a pool belongs to one loop
        try:
            async with database.snapshot() as session:
                state = await load_state(session, self.catalogue, now_ms)
                prices = await _prices(session, spec, now_ms)
        finally:
            await database.dispose()
        # As if everything before it and every hold were out of the way: those are the submitter's own.
        free = replace(spec, dependencies=Dependencies(), hold=False, array=None)
        now_ms = max(now_ms, state.began_ms)
        apply(state, JobSubmitted(FirmId(firm_id), _TRIAL, free, now_ms, free.name), now_ms, self.ids)
        proposal, report = _plan(take_snapshot(state, now_ms), now_ms, self._config)
        placed = next((one for one in proposal.placements if one.job_id == _TRIAL), None)
        waits = report.of(_TRIAL)
        first = waits is not None and waits.jobs[0].job_id == _TRIAL
        told = report.starts(_TRIAL)
        in_queue = report.in_order(state.jobs[_TRIAL].queue)
        starts = None if waits is None or told is None else told[:3]
        return Trial(
            spec=spec,
            starts_now=placed is not None,
            device_model=None if placed is None else placed.device_model,
            pool=None if placed is None else placed.pool,
            position=next((at for at, job, _ in in_queue if job.job_id == _TRIAL), None),
            reasons=() if waits is None else tuple(reason.to_json() for reason in waits.reasons),
            counterfactual=None if waits is None else waits.counterfactual,
            starts_by_ms=waits.starts_by_ms if waits is not None and first else None,
            starts=starts,
            warnings=_warnings(free, now_ms if placed is not None else None if starts is None else starts[1]),
            prices=tuple(_price(spec, variant.model, prices.get(variant.model)) for variant in spec.variants),
        )


def _warnings(spec: JobSpec, starts_ms: int | None) -> tuple[FieldProblem, ...]:
    document = spec.to_json()
    found = late(document, starts_ms)
    return (*warnings_of(document), *(() if found is None else (found.warning,)))


async def _prices(session: AsyncSession, spec: JobSpec, now_ms: int) -> dict[str, int]:
    """Nano-yuan of a device's hour, by the models of a spec that have a price now."""
    rows = await session.scalars(
        select(PriceVersionRow).where(
            PriceVersionRow.device_model.in_([variant.model for variant in spec.variants]),
            PriceVersionRow.effective_from_ms <= now_ms,
        ).order_by(PriceVersionRow.effective_from_ms)
    )  # fmt: skip
    return {row.device_model: row.price_nano_cny for row in rows}


def _price(spec: JobSpec, model: str, price_nano_cny: int | None) -> VariantPrice:
    if price_nano_cny is None:
        return VariantPrice(model, None, None, None, None)
    share = Fraction(
        1 if spec.share is None or spec.share.ppm is None else Fraction(spec.share.ppm, WHOLE_PPM)
    )
    gang = Fraction(price_nano_cny * spec.gang.devices) * share

    def of_time(seconds: int | None) -> str | None:
        return None if seconds is None else cny_to_the_fen(gang * seconds / _HOUR_S)

    return VariantPrice(
        model=model,
        device_hour_cny=cny_to_the_fen(Fraction(price_nano_cny)),
        gang_hour_cny=cny_to_the_fen(gang),
        at_most_cny=of_time(spec.time_limit_seconds),
        estimate_cny=of_time(estimated_seconds(spec.estimate_seconds, spec.time_limit_seconds)),
    )


def cny_to_the_fen(nano: Fraction) -> str:
    """Yuan to the fen, rounded half up: for showing, never for billing."""
    fen = (nano * 100 / _NANO + Fraction(1, 2)).__floor__()
    return f"{fen // 100}.{fen % 100:02d}"


def _plan(snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> tuple[Plan, Report]:
    # With numpy, which the API has no other use for: it is loaded for the first who tries a job.
    from scheduler import machine_code
    from scheduler.planner.sifting import sifted_plan

    if machine_code.wanted(len(snapshot.nodes)):
        begun_s = time.monotonic()
        # Some 20 s where none is kept: trials wait for it.
        _log.info("compiling_kernels", nodes=len(snapshot.nodes))
        machine_code.want(len(snapshot.nodes))
        _log.info("kernels_compiled", seconds=round(time.monotonic() - begun_s, 3))
    until_s = time.monotonic() + _MOST_LOOKING_S
    return sifted_plan(snapshot, now_ms, config, lambda: time.monotonic() < until_s)
