"""Usage, the balance of device time, and the evidence of both."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, BinaryIO, cast

import structlog
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.api.auth import (
    BalanceReader,
    BundleReader,
    PeriodCloser,
    ProofReader,
    SampleReader,
    UsageReader,
)
from scheduler.api.bodies import body_of, request_body
from scheduler.api.periods import From, To, moment_ms, period_ms
from scheduler.api.raw_samples import write_samples
from scheduler.api.schemas.usage import (
    BalanceOut,
    PeriodIn,
    PeriodOut,
    ProofPacketIn,
    SamplePacketIn,
    UsageOut,
    balance_out,
    period_out,
    usage_out,
)
from scheduler.api.state import ApiState
from scheduler.domain.authorise import Action, Principal, allows, require_visible
from scheduler.services.budgets import list_budgets
from scheduler.services.bundles import BundleRequest, write_bundle
from scheduler.services.firms import firm_names
from scheduler.services.periods import close_period
from scheduler.services.proof_packets import PacketRequest, write_packet
from scheduler.services.tunnels import gateways_of
from scheduler.services.usage import (
    UsageReport,
    Wanted,
    balance,
    covered,
    published_size,
    simulated_uses,
    usage_report,
)
from scheduler.storage.tables import DeviceRow, JobRow, NodeRow
from scheduler.storage.tile_store import TileStore
from suanli.evidence.bundle import AUDITOR, Scope, firm_scope

router = APIRouter(prefix="/v1", tags=["usage"])

_log = structlog.get_logger(__name__)

CHUNK_BYTES = 256 * 1024
# Below this a bundle stays in memory; above, in a file without a name.
SPOOL_BYTES = 8 << 20
_ZIP = "application/zip"
_ZIP_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/usage")
async def usage(
    api: ApiState,
    principal: UsageReader,
    from_: From = None,
    to: To = None,
    job_id: Annotated[str | None, Query(max_length=64, description="Only this job.")] = None,
) -> UsageOut:
    """Usage and its price by firm, job and device model. Absent times: this month (Asia/Shanghai) until now.

    A `to` that has not come is now; the answer's says where the period ends.
    """
    from_ms, to_ms = period_ms(from_, to, api.now_ms())
    async with api.database.snapshot() as session:
        if job_id is not None:
            owner = await session.scalar(select(JobRow.firm_id).where(JobRow.job_id == job_id))
            require_visible(principal, owner, f"job {job_id}")
        report = await usage_report(session, Wanted(from_ms, to_ms, principal.firm_id, job_id))
        names = await _job_names(session, principal, report)
        simulated = await simulated_uses(session, report)
        budgets = await list_budgets(session, principal, api.now_ms()) if job_id is None else ()
    return usage_out(report, names, simulated, budgets)


async def _job_names(
    session: AsyncSession, principal: Principal, report: UsageReport
) -> dict[str, tuple[str, int | None]]:
    """Names of jobs, which an auditor is not told: they are the firms' own words."""
    if not allows(principal, Action.READ_JOBS):
        return {}
    ids = {str(line["job_id"]) for firm in report.firms for line in firm.lines}
    rows = await session.execute(
        select(JobRow.job_id, JobRow.name, JobRow.array_index).where(JobRow.job_id.in_(ids))
    )
    return {row.job_id: (row.name, row.array_index) for row in rows}


@router.get("/usage/balance")
async def usage_balance(
    api: ApiState, principal: BalanceReader, from_: From = None, to: To = None
) -> BalanceOut:
    """Where every device's time went. Absent times: this month (Asia/Shanghai) as far as the log covers it.

    A `to` that has not come is as if absent; the answer's says where the period ends. Time that is asked for, has
    passed and is not in the log yet counts as unknown.
    """
    now_ms = api.now_ms()
    from_ms, to_ms = period_ms(from_, to, now_ms)
    async with api.database.snapshot() as session:
        if to_ms == now_ms:
            known = await covered(session, await published_size(session))
            if known is not None and from_ms < known.to_ms < to_ms:
                to_ms = known.to_ms
        found = await balance(session, from_ms=from_ms, to_ms=to_ms)
        rows = await session.execute(
            select(DeviceRow.device_id, NodeRow.name, DeviceRow.model).join(
                NodeRow, NodeRow.node_id == DeviceRow.node_id
            )
        )
        devices = {row.device_id: (row.name, row.model) for row in rows}
    return balance_out(found, devices)


@router.get("/bundle", response_class=StreamingResponse, responses=_ZIP_ANSWER)
async def bundle(
    api: ApiState, principal: BundleReader, from_: From = None, to: To = None
) -> StreamingResponse:
    """The evidence of a period as a ZIP file. Absent times: from the beginning, as far as all nodes are logged.

    Operators and auditors are given everything, a firm its own part.
    """
    request = BundleRequest(_scope(principal), moment_ms(from_, "from"), moment_ms(to, "to"))
    with _zip_file() as file:
        async with api.database.snapshot() as session:
            made = await write_bundle(session, TileStore(api.config.log_place), request, file, api.now_ms())
    return _zip_answer(file, f"suanli-{made.from_ms}-{made.to_ms}-{made.log_size}.zip")


@router.post(
    "/proof-packets",
    response_class=StreamingResponse,
    responses=_ZIP_ANSWER,
    openapi_extra=request_body(ProofPacketIn),
)
async def proof_packet(
    api: ApiState,
    principal: ProofReader,
    body: Annotated[ProofPacketIn, Depends(body_of(ProofPacketIn))],
) -> StreamingResponse:
    """Log entries that were drawn for inspection, as a ZIP file: what opens each, and its C2SP tlog-proof.

    Operators and auditors are given everything; a firm is proved every entry and given what opens its own.
    """
    to_ms = moment_ms(body.to, "to", "")
    seed = body.seed_checkpoint.encode("utf-8")
    request = PacketRequest(_scope(principal), seed, body.indexes, to_ms)
    with _zip_file() as file:
        async with api.database.snapshot() as session:
            await write_packet(session, TileStore(api.config.log_place), request, file)
    return _zip_answer(file, "suanli-proofs.zip")


@router.post("/periods", openapi_extra=request_body(PeriodIn))
async def close(
    api: ApiState, principal: PeriodCloser, body: Annotated[PeriodIn, Depends(body_of(PeriodIn))]
) -> PeriodOut:
    """Close a period: a statement of every firm that used something becomes an entry of the log, once and for all.

    Refused while windows of the period are on their way. The same again answers what was closed.
    """
    from_ms, to_ms = moment_ms(body.from_, "from", ""), moment_ms(body.to, "to", "")
    async with api.database.transaction() as session:
        closed = await close_period(session, principal, from_ms or 0, to_ms or 0, api.now_ms())
        firms = await firm_names(session, [statement.firm_id for statement in closed.statements])
    _log.info("period_closed", principal=principal.name, log_size=closed.log_size)
    return period_out(closed, firms)


@router.post(
    "/sample-packets",
    response_class=StreamingResponse,
    responses=_ZIP_ANSWER,
    openapi_extra=request_body(SamplePacketIn),
)
async def sample_packet(
    api: ApiState,
    principal: SampleReader,
    body: Annotated[SamplePacketIn, Depends(body_of(SamplePacketIn))],
) -> StreamingResponse:
    """Raw samples of segments that were drawn, fetched from the nodes that keep them, as a ZIP file.

    What a node does not give now is named with the reason in samples/missing.json: away, or not kept any more.
    """
    wanted = body.wanted()
    async with api.database.read() as session:
        places = await gateways_of(session, {item.node_id for item in wanted})
    with _zip_file() as file:
        await write_samples(api.tunnels, places, wanted, file)
    _log.info("raw_samples_given", principal=principal.name, segments=len(wanted))
    return _zip_answer(file, "suanli-samples.zip")


def _scope(principal: Principal) -> Scope:
    return AUDITOR if principal.firm_id is None else firm_scope(principal.firm_id)


@contextmanager
def _zip_file() -> Iterator[BinaryIO]:
    """A file to fill for an answer, which closes it at its end; closed here where filling it failed."""
    with ExitStack() as unfinished:
        file = unfinished.enter_context(tempfile.SpooledTemporaryFile(SPOOL_BYTES))
        yield cast("BinaryIO", file)
        unfinished.pop_all()


def _zip_answer(file: BinaryIO, name: str) -> StreamingResponse:
    size_bytes = file.seek(0, 2)
    file.seek(0)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size_bytes)}
    return StreamingResponse(_chunks(file), media_type=_ZIP, headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(CHUNK_BYTES):
            yield data
