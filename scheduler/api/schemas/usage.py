"""Usage and the balance of device time over HTTP. Money is whole fen; exact charges are fractions of a fen."""

from collections.abc import Iterable, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import Field

from scheduler.api.schemas.base import In, Out, utc
from scheduler.api.schemas.budgets import BudgetOut, budget_out
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.services.budgets import BudgetLine
from scheduler.services.periods import ClosedPeriod
from scheduler.services.usage import Balance, DeviceTime, FirmUsage, UsageReport
from suanli.evidence.sampling import RequestedSamples
from suanli.evidence.windows import GRID_MS
from suanli.rating.balance import Buckets

PPM = 1_000_000


ENTRIES_LIMIT = 1000
SEGMENTS_LIMIT = 10_000


class ProofPacketIn(In):
    """What was drawn for inspection, and the log checkpoint that gave the seed."""

    seed_checkpoint: Annotated[
        str,
        Field(
            min_length=1,
            max_length=65_536,
            description="Signed log checkpoint, exactly as published after the period closed.",
        ),
    ]
    indexes: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]],
        Field(min_length=1, max_length=ENTRIES_LIMIT, description="Log indexes below the checkpoint's size."),
    ]
    to: Annotated[
        str | None,
        Field(
            max_length=40,
            description="End of the period that is inspected (RFC 3339 with its zone): refused before it is"
            " closed, and for a checkpoint from before its close. Absent: no period is meant.",
        ),
    ] = None


class SampleStretchIn(In):
    """The raw samples of one segment of a window: where they lie."""

    path: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^samples/[0-9]{1,18}-[0-9]{1,6}\.jsonl$",
            description="Name of the file in the answer, samples/INDEX-N.jsonl.",
        ),
    ]
    node_id: Annotated[str, Field(min_length=1, max_length=64)]
    device_id: Annotated[str, Field(min_length=1, max_length=64)]
    allocation_id: Annotated[
        str, Field(min_length=1, max_length=64, description="Others may have parts of the device.")
    ]
    start_ms: Annotated[int, Field(ge=0, lt=2**53)]
    end_ms: Annotated[int, Field(ge=0, lt=2**53, description="After start_ms, by at most five minutes.")]


class VisitIn(In):
    """A device drawn for a visit, which no network can answer."""

    firm_id: Annotated[str, Field(max_length=128)]
    model: Annotated[str, Field(max_length=128)]
    device_id: Annotated[str, Field(max_length=128)]


class SamplePacketIn(In):
    """The request that `suanli sample` writes, as it is: raw samples of segments that a seed has drawn."""

    schema_: Annotated[Literal["suanli.sample_request.v1"], Field(alias="schema")]
    seed: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    segments: Annotated[list[SampleStretchIn], Field(min_length=1, max_length=SEGMENTS_LIMIT)]
    devices: Annotated[list[VisitIn], Field(default_factory=list, max_length=100_000)]

    def wanted(self) -> list[RequestedSamples]:
        """What is asked of nodes. Raises Invalid for what is no stretch of a window, and for a file asked for twice."""
        problems = []
        seen: set[str] = set()
        for n, item in enumerate(self.segments):
            if not 0 < item.end_ms - item.start_ms <= GRID_MS:
                want = f"more than start_ms {item.start_ms}, by at most {GRID_MS} ms"
                problems.append(FieldProblem(f"segments[{n}].end_ms", str(item.end_ms), want))
            if item.path in seen:
                problems.append(FieldProblem(f"segments[{n}].path", item.path, "each file once"))
            seen.add(item.path)
        if problems:
            raise Invalid(problems)
        return [
            RequestedSamples(
                item.path, item.node_id, item.device_id, item.allocation_id, item.start_ms, item.end_ms
            )
            for item in self.segments
        ]


class PeriodIn(In):
    """A period to close."""

    from_: Annotated[str, Field(alias="from", max_length=40, description="RFC 3339, with its zone.")]
    to: Annotated[str, Field(max_length=40, description="RFC 3339, with its zone.")]


class FirmStatementOut(Out):
    """What a firm's statement of the period came to; `sha256` is over its statement.json."""

    firm_id: str
    firm: str
    sha256: str
    total_fen: int
    net_fen: int


class PeriodOut(Out):
    """A closed period: what lies below `log_size` belongs to it, what comes later is a correction."""

    from_: str = Field(serialization_alias="from")
    to: str
    log_size: int
    statements: list[FirmStatementOut]


def period_out(period: ClosedPeriod, firms: Mapping[str, str]) -> PeriodOut:
    """A closed period for the wire; `firms`: their names by id."""
    statements = [
        FirmStatementOut(
            firm_id=s.firm_id,
            firm=firms.get(s.firm_id, s.firm_id),
            sha256=s.sha256,
            total_fen=s.total_fen,
            net_fen=s.net_fen,
        )
        for s in period.statements
    ]
    return PeriodOut(
        from_=utc(period.from_ms), to=utc(period.to_ms), log_size=period.log_size, statements=statements
    )


class FractionOut(Out):
    """An exact number: num / den."""

    num: int
    den: int


class UsageLineOut(Out):
    """A job's use of one device model at one price. Times are milliseconds of whole devices."""

    job_id: str
    job_name: str | None
    array_index: int | None
    device_model: str
    simulated: Annotated[bool, Field(description="Whether no hardware is behind devices of it that it held.")]
    price_id: str | None = Field(description="Null: no price was in force, and nothing is charged.")
    requested_ms: int | None
    held_ms: int
    billable_ms: int
    live_ms: int
    worked_ms: int
    charge: FractionOut
    amount_fen: int


class SubsidyOut(Out):
    """What a program may pay of a firm's total."""

    program_id: str
    version: int
    base_fen: int
    amount_fen: int


class FirmUsageOut(Out):
    """One firm's usage in the period."""

    firm_id: str
    name: str
    lines: list[UsageLineOut]
    total_fen: int
    subsidies: list[SubsidyOut]
    net_fen: int


class UsageOut(Out):
    """Usage of a period as far as the evidence log of `log_size` entries tells it."""

    from_: str = Field(serialization_alias="from")
    to: str
    log_size: int
    firms: list[FirmUsageOut]
    budgets: Annotated[
        list[BudgetOut],
        Field(description="Those that are set, in their present periods, whichever was asked for."),
    ]


def usage_out(
    report: UsageReport,
    job_names: Mapping[str, tuple[str, int | None]],
    simulated: Set[tuple[str, str]],
    budgets: Iterable[BudgetLine],
) -> UsageOut:
    """A report for the wire; names of jobs only as far as the caller may know them.

    `simulated`: (job, device model) of which it held devices without hardware.
    """
    return UsageOut(
        from_=utc(report.from_ms),
        to=utc(report.to_ms),
        log_size=report.log_size,
        firms=[_firm_out(firm, job_names, simulated) for firm in report.firms],
        budgets=[budget_out(line) for line in budgets],
    )


def _firm_out(
    firm: FirmUsage, job_names: Mapping[str, tuple[str, int | None]], simulated: Set[tuple[str, str]]
) -> FirmUsageOut:
    lines: list[dict[str, Any]] = []
    for line in firm.lines:
        name, array_index = job_names.get(str(line["job_id"]), (None, None))
        seeming = (line["job_id"], line["device_model"]) in simulated
        lines.append({**line, "job_name": name, "array_index": array_index, "simulated": seeming})
    return FirmUsageOut(
        firm_id=firm.firm_id,
        name=firm.name,
        lines=[UsageLineOut.model_validate(line) for line in lines],
        total_fen=firm.total_fen,
        subsidies=[SubsidyOut.model_validate(dict(subsidy)) for subsidy in firm.subsidies],
        net_fen=firm.net_fen,
    )


class BucketsOut(Out):
    """Milliseconds of whole devices by what they were; they sum to `enrolled_ms`."""

    enrolled_ms: int
    allocated_ms: int
    idle_ms: int
    reserved_ms: int
    maintenance_ms: int
    faulty_ms: int
    unknown_ms: int


class DeviceTimeOut(BucketsOut):
    """The balance of one device."""

    device_id: str
    node: str
    device_model: str


class BalanceOut(Out):
    """Every device-millisecond of the period in exactly one bucket."""

    from_: str = Field(serialization_alias="from")
    to: str
    log_size: int
    devices: list[DeviceTimeOut]
    total: BucketsOut


def _whole(buckets: Buckets) -> dict[str, int]:
    return {
        "enrolled_ms": buckets.total() // PPM,
        "allocated_ms": buckets.allocated // PPM,
        "idle_ms": buckets.idle // PPM,
        "reserved_ms": buckets.reserved // PPM,
        "maintenance_ms": buckets.maintenance // PPM,
        "faulty_ms": buckets.faulty // PPM,
        "unknown_ms": buckets.unknown // PPM,
    }


def balance_out(balance: Balance, known: Mapping[str, tuple[str, str]]) -> BalanceOut:
    """A balance for the wire. `known`: device id -> (node's name, device model)."""

    def device_out(device: DeviceTime) -> DeviceTimeOut:
        node, model = known.get(device.device_id, ("", ""))
        return DeviceTimeOut(
            device_id=device.device_id, node=node, device_model=model, **_whole(device.buckets)
        )

    return BalanceOut(
        from_=utc(balance.from_ms),
        to=utc(balance.to_ms),
        log_size=balance.log_size,
        devices=[device_out(device) for device in balance.devices],
        total=BucketsOut(**_whole(balance.total())),
    )
