"""The configuration that an operator applies, read strictly into values: every problem with its path.

Pure. What exists already and what may change is `configuration`'s question.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.domain.budgets import BudgetPeriod
from scheduler.domain.file_reading import read_object_store, read_pool_volume
from scheduler.domain.job_limits import NAME_PATTERN
from scheduler.domain.nodes import Place
from scheduler.domain.object_stores import ObjectStore
from scheduler.domain.pools import PoolVolume
from scheduler.domain.principals import FIRM_ROLES, PRINCIPAL_NAME, PRINCIPAL_NAME_WANTED, Role
from scheduler.domain.queues import COMPUTE
from scheduler.domain.reading import Reader
from scheduler.domain.time import GRID_MS, MINUTE_MS, SECOND_MS, from_rfc3339, on_grid
from suanli.rating.no_such_time import wanted_time

NANO = 9  # decimal places of CNY in a price
PARTS_PER_MILLION = 6  # decimal places of a rate
FEN = 2  # decimal places of CNY in a cap
NAME = f"name: 1 to 100 of a-z 0-9 - . _ (pattern {NAME_PATTERN})"
DEFAULT_NAME = "default"
_TITLE = r"[^\x00-\x1f\x7f]{1,256}"
_LONG_TEXT = r"[^\x00-\x1f\x7f]{1,1024}"
MOST_QUOTA = 1_000_000
# How people write a quota of COMPUTE: nominal FP16 speed of all devices together.
COMPUTE_TFLOPS = "compute_tflops"
GFLOPS_PER_TFLOPS = 1_000
MOST_TFLOPS = 1_000_000_000
MOST_POSITION = 1_000_000
NODE_PATTERN = r"[A-Za-z0-9._-]{1,253}"


@dataclass(frozen=True, slots=True)
class Quota:
    """Amounts by device model (devices) and COMPUTE (GFLOPS over all models); absent: no limit."""

    nominal: Mapping[str, int] = field(default_factory=dict)
    borrowing: Mapping[str, int] = field(default_factory=dict)  # the most above nominal
    lending: Mapping[str, int] = field(default_factory=dict)  # the most lent of nominal


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A queue as the file wants it. `pools` None: all pools there are."""

    name: str
    pools: tuple[str, ...] | None = None
    quota: Quota = field(default_factory=Quota)
    weight: int = 1
    cohort: str | None = None


@dataclass(frozen=True, slots=True)
class CohortEntry:
    """Queues and cohorts that lend each other unused quota."""

    name: str
    parent: str | None
    quota: Quota
    weight: int


@dataclass(frozen=True, slots=True)
class FirmEntry:
    """A firm with its projects and queues. None: not named, and left alone."""

    name: str
    title: str | None
    projects: tuple[str, ...] | None
    queues: tuple[QueueEntry, ...] | None

    def as_new(self) -> "FirmEntry":
        """What it is where it is not there yet: with a project and a queue, unless the file says of which."""
        projects = (DEFAULT_NAME,) if self.projects is None else self.projects
        queues = (QueueEntry(DEFAULT_NAME),) if self.queues is None else self.queues
        return FirmEntry(self.name, self.title or self.name, projects, queues)


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """A pool with its policy. `volumes`, `object_stores` None: those that it has."""

    name: str
    patience_ms: int
    volumes: tuple[PoolVolume, ...] | None = None
    object_stores: tuple[ObjectStore, ...] | None = None


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """A maintenance window or, with a firm, an advance reservation; of named nodes or of a whole pool."""

    where: str  # its path in the file
    name: str
    firm: str | None
    queue: str | None
    nodes: tuple[str, ...]
    pool: str | None
    from_ms: int
    until_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """Where a node hangs in the network; what is None is left to what its agent says."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """A price from a moment on."""

    model: str
    price_nano_cny: int
    effective_from_ms: int


@dataclass(frozen=True, slots=True)
class BudgetEntry:
    """What a project, or without one a firm with all of its projects, may spend in a period."""

    firm: str
    project: str | None
    amount_nano: int
    period: BudgetPeriod


@dataclass(frozen=True, slots=True)
class ProgramEntry:
    """One version of a subsidy program. `domestic_models` None: as the catalogue rules."""

    program_id: str
    version: int
    title: str
    legal_reference: str
    rate_ppm: int
    rate_meaning: str
    usage_measure: str
    domestic_only: bool
    domestic_models: tuple[str, ...] | None
    per_firm_cap_fen: int | None
    effective_from_ms: int


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A principal."""

    name: str
    role: Role
    firm: str | None
    kind: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says. What it does not name is left alone."""

    firms: tuple[FirmEntry, ...]
    cohorts: tuple[CohortEntry, ...]
    pools: tuple[PoolEntry, ...]
    calendar: tuple[CalendarEntry, ...]
    prices: tuple[PriceEntry, ...]
    programs: tuple[ProgramEntry, ...]
    users: tuple[UserEntry, ...]
    nodes: tuple[NodeEntry, ...] = ()
    budgets: tuple[BudgetEntry, ...] = ()


def configuration_from_json(value: object, beside: Iterable[str] = ()) -> Configuration:
    """Read a configuration (YAML or JSON already parsed); what is there `beside` it is another reader's.

    Raises Invalid with every problem.
    """
    reader = Reader(value)
    for name in beside:
        reader.raw(name)
    configuration = Configuration(
        firms=tuple(reader.each("firms", _firm)),
        cohorts=tuple(reader.each("cohorts", cohort_of)),
        pools=tuple(reader.each("pools", _pool)),
        calendar=(
            *reader.each("maintenance", _maintenance),
            *reader.each("reservations", _reservation),
        ),
        prices=tuple(reader.each("prices", _price)),
        programs=tuple(reader.each("programs", _program)),
        users=tuple(reader.each("users", _user)),
        nodes=tuple(reader.each("nodes", _node)),
        budgets=tuple(reader.each("budgets", _budget)),
    )
    _refuse_repeated(reader, "firms", [firm.name for firm in configuration.firms])
    _refuse_repeated(reader, "cohorts", [cohort.name for cohort in configuration.cohorts])
    _refuse_repeated(reader, "pools", [pool.name for pool in configuration.pools])
    _refuse_repeated(reader, "maintenance, reservations", [entry.name for entry in configuration.calendar])
    _refuse_repeated(reader, "nodes", [node.name for node in configuration.nodes])
    _refuse_repeated(reader, "users", [user.name for user in configuration.users])
    _refuse_repeated(reader, "prices", [(p.model, p.effective_from_ms) for p in configuration.prices])
    _refuse_repeated(reader, "budgets", [(b.firm, b.project) for b in configuration.budgets])
    _refuse_repeated(reader, "programs", [(p.program_id, p.version) for p in configuration.programs])
    reader.finish()
    return configuration


def _refuse_repeated(reader: Reader, key: str, names: Sequence[object]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            reader.problem(f"{reader.at(key)}[{number}]", name, "each one once")


def _firm(reader: Reader) -> FirmEntry:
    name = reader.text("name", pattern=NAME_PATTERN, want=NAME)
    projects = _texts(reader, "projects", NAME_PATTERN)
    queues = tuple(reader.each("queues", _queue))
    _refuse_repeated(reader, "queues", [queue.name for queue in queues])
    _refuse_repeated(reader, "projects", list(projects or ()))
    return FirmEntry(
        name=name,
        title=reader.optional_text("title", pattern=_TITLE, want="1 to 256 characters on one line"),
        projects=projects,
        queues=queues if reader.has("queues") else None,
    )


def _queue(reader: Reader) -> QueueEntry:
    pools = _texts(reader, "pools", NAME_PATTERN)
    _refuse_repeated(reader, "pools", list(pools or ()))
    return QueueEntry(
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME),
        pools=pools,
        quota=quota_of(reader),
        weight=_weight(reader),
        cohort=reader.optional_text("cohort", pattern=NAME_PATTERN, want="name of a cohort"),
    )


def cohort_of(reader: Reader) -> CohortEntry:
    """One of `cohorts`."""
    return CohortEntry(
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME),
        parent=reader.optional_text("parent", pattern=NAME_PATTERN, want="name of another cohort"),
        quota=quota_of(reader),
        weight=_weight(reader),
    )


def _weight(reader: Reader) -> int:
    return reader.integer("weight", 1, low=1, high=1000)


def quota_of(reader: Reader) -> Quota:
    """What a queue or a cohort may hold, borrow and lend."""
    return Quota(_amounts(reader, "nominal"), _amounts(reader, "borrowing"), _amounts(reader, "lending"))


def _amounts(reader: Reader, key: str) -> dict[str, int]:
    value = reader.raw(key)
    where = reader.at(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        reader.problem(where, value, "an object: device model -> number of devices")
        return {}
    amounts: dict[str, int] = {}
    for model, amount in value.items():
        compute = model == COMPUTE_TFLOPS
        most = MOST_TFLOPS if compute else MOST_QUOTA
        good = isinstance(amount, int) and not isinstance(amount, bool) and 0 <= amount <= most
        if model == COMPUTE:
            reader.problem(f"{where}.{model}", amount, f"{COMPUTE_TFLOPS}, which is counted in TFLOPS")
        elif not isinstance(model, str) or not good:
            reader.problem(f"{where}.{model}", amount, f"a whole number from 0 to {most}")
        elif compute:
            amounts[COMPUTE] = amount * GFLOPS_PER_TFLOPS
        else:
            amounts[model] = amount
    return amounts


def shown_quota(amounts: Mapping[str, int]) -> dict[str, int]:
    """Amounts as the file has them."""
    return {
        COMPUTE_TFLOPS if key == COMPUTE else key: amount // GFLOPS_PER_TFLOPS if key == COMPUTE else amount
        for key, amount in amounts.items()
    }


def _pool(reader: Reader) -> PoolEntry:
    seconds = reader.integer("patience_seconds", MINUTE_MS // SECOND_MS, low=1, high=7 * 24 * 3600)
    volumes = tuple(reader.each("volumes", read_pool_volume))
    _refuse_repeated(reader, "volumes", [volume.name for volume in volumes])
    stores = tuple(reader.each("object_stores", read_object_store))
    _refuse_repeated(reader, "object_stores", [store.name for store in stores])
    return PoolEntry(
        reader.text("name", pattern=NAME_PATTERN, want=NAME),
        seconds * SECOND_MS,
        volumes if reader.has("volumes") else None,
        stores if reader.has("object_stores") else None,
    )


def _maintenance(reader: Reader) -> CalendarEntry:
    return _calendar_entry(reader, None, None)


def _reservation(reader: Reader) -> CalendarEntry:
    firm = reader.text("firm", pattern=NAME_PATTERN, want="name of a firm")
    return _calendar_entry(reader, firm, reader.text("queue", DEFAULT_NAME, pattern=NAME_PATTERN, want=NAME))


def _calendar_entry(reader: Reader, firm: str | None, queue: str | None) -> CalendarEntry:
    nodes = _texts(reader, "nodes", r"[^\x00-\x1f\x7f]{1,253}") or ()
    pool = reader.optional_text("pool", pattern=NAME_PATTERN, want="name of a pool")
    if bool(nodes) == (pool is not None):
        reader.problem(reader.at("nodes"), list(nodes), "names of nodes, or a pool, and not both")
    from_ms, until_ms = _moment(reader, "from"), _moment(reader, "until")
    if 0 <= until_ms <= from_ms:
        reader.problem(reader.at("until"), reader.raw("until"), "a time after from")
    return CalendarEntry(
        where=reader.path,
        name=reader.text("name", pattern=NAME_PATTERN, want=NAME),
        firm=firm,
        queue=queue,
        nodes=nodes,
        pool=pool,
        from_ms=from_ms,
        until_ms=until_ms,
        why=reader.text(
            "why", "", pattern=r"[^\x00-\x1f\x7f]{0,256}", want="at most 256 characters on one line"
        ),
    )


def _moment(reader: Reader, key: str) -> int:
    """A time since 1970; -1 for what is none, which the reader's problems name."""
    value = reader.raw(key)
    try:
        at_ms = from_rfc3339(value if isinstance(value, str) else "")
    except (ValueError, OverflowError):
        at_ms = -1
    if at_ms < 0:
        want = 'a time with its zone, like "2026-01-01T00:00:00+08:00"'
        reader.problem(reader.at(key), value, wanted_time(value, want))
        return -1
    return at_ms


def _node(reader: Reader) -> NodeEntry:
    def domain(key: str) -> str | None:
        return reader.optional_text(key, pattern=NAME_PATTERN, want=f"name of a {key}: {NAME}")

    place = Place(
        domain("zone"),
        domain("supernode"),
        domain("leaf"),
        reader.optional_integer("position", low=0, high=MOST_POSITION),
    )
    return NodeEntry(
        reader.text("name", pattern=NODE_PATTERN, want="name of a node: 1 to 253 of A-Z a-z 0-9 . _ -"), place
    )


def _price(reader: Reader) -> PriceEntry:
    return PriceEntry(
        model=reader.text("model", pattern=r"[a-z0-9][a-z0-9.-]{0,39}", want="key of a device model"),
        price_nano_cny=reader.decimal("price_cny_per_device_hour", NANO),
        effective_from_ms=_effective_from(reader),
    )


def _budget(reader: Reader) -> BudgetEntry:
    firm = reader.text("firm", pattern=NAME_PATTERN, want="name of a firm")
    project = reader.optional_text("project", pattern=NAME_PATTERN, want="name of a project")
    return budget_of(reader, firm, project)


def budget_of(reader: Reader, firm: str, project: str | None) -> BudgetEntry:
    """What is said of a budget, wherever whose it is stands."""
    amount_nano = reader.decimal("amount_cny", NANO)
    period = reader.choice("period", BudgetPeriod, BudgetPeriod.MONTH)
    return BudgetEntry(firm, project, amount_nano, BudgetPeriod(period))


def _program(reader: Reader) -> ProgramEntry:
    return ProgramEntry(
        program_id=reader.text("program_id", pattern=r"[a-z0-9][a-z0-9._-]{0,63}", want="a-z 0-9 - . _"),
        version=reader.integer("version", low=1, high=1_000_000),
        title=reader.text("title", pattern=_TITLE, want="1 to 256 characters on one line"),
        legal_reference=reader.text("legal_reference", pattern=_LONG_TEXT, want="which text the rule is in"),
        rate_ppm=_rate(reader),
        rate_meaning=reader.choice("rate_meaning", ("exact", "ceiling"), "exact"),
        usage_measure=reader.choice("usage_measure", ("allocated", "live", "busy"), "allocated"),
        domestic_only=reader.boolean("domestic_only", False) is True,
        domestic_models=_texts(reader, "domestic_models", r"[a-z0-9][a-z0-9.-]*"),
        per_firm_cap_fen=reader.decimal("per_firm_cap_cny", FEN) if reader.has("per_firm_cap_cny") else None,
        effective_from_ms=_effective_from(reader),
    )


def _rate(reader: Reader) -> int:
    rate_ppm = reader.decimal("rate", PARTS_PER_MILLION)
    if rate_ppm > 10**PARTS_PER_MILLION:
        reader.problem(reader.at("rate"), reader.raw("rate"), 'at most "1"')
    return rate_ppm


def _user(reader: Reader) -> UserEntry:
    role = Role(reader.choice("role", Role))
    firm = reader.text("firm", pattern=NAME_PATTERN, want="name of a firm") if reader.has("firm") else None
    reader.raw("firm")
    if (role in FIRM_ROLES) != (firm is not None) and reader.raw("role") in list(Role):
        want = "the name of a firm" if role in FIRM_ROLES else f"nothing: {role}s belong to no firm"
        reader.problem(reader.at("firm"), firm, want)
    return UserEntry(
        name=reader.text("name", pattern=PRINCIPAL_NAME, want=PRINCIPAL_NAME_WANTED),
        role=role,
        firm=firm,
        kind=reader.choice("kind", ("user", "service"), "user"),
    )


def _texts(reader: Reader, key: str, pattern: str) -> tuple[str, ...] | None:
    if not reader.has(key):
        reader.raw(key)
        return None
    texts = []
    for number, item in enumerate(reader.items(key)):
        if isinstance(item, str) and re.fullmatch(pattern, item):
            texts.append(item)
        else:
            reader.problem(f"{reader.at(key)}[{number}]", item, f"text that matches {pattern}")
    return tuple(texts)


def _effective_from(reader: Reader) -> int:
    at_ms = _moment(reader, "effective_from")
    if at_ms >= 0 and not on_grid(at_ms):
        want = f"a time on the {GRID_MS // MINUTE_MS}-minute grid of UTC, so that no window splits"
        reader.problem(reader.at("effective_from"), reader.raw("effective_from"), want)
    return at_ms
