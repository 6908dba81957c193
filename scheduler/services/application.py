"""One run of applying a configuration file: what is known, what was found wrong, what was changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.catalogue import Catalogue
from scheduler.domain.errors import FieldProblem
from scheduler.domain.firms import UidRange
from scheduler.domain.ids import Ids
from scheduler.storage.tables import EvidenceIntakeRow
from suanli.evidence.records import Record, encode_record, entry_type

Document = dict[str, Any]
# Judges what is there now (its document; None: nothing) before it is changed; raises PreconditionFailed.
Judge = Callable[[Document | None], None]
CREATED = "created"
CHANGED = "changed"
UNCHANGED = "unchanged"
# Two files applied at once would each compute their difference to the state before both.
APPLY_LOCK = (0x7375616E, 0x6170706C)  # "suan", "appl"


async def lock_configuration(session: AsyncSession) -> None:
    """Let nobody else change the configuration before this transaction ends."""
    space, key = APPLY_LOCK
    await session.execute(select(func.pg_advisory_xact_lock(space, key)))


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact of an object that changed."""

    field: str
    was: object
    now: object


@dataclass(frozen=True, slots=True)
class Change:
    """What applying did (or would do) to one object."""

    kind: str  # firm | project | cohort | queue | pool | calendar | node | price | budget | program | user
    name: str
    outcome: str
    differences: tuple[Difference, ...] = ()


class Applied(NamedTuple):
    """What applying did."""

    changes: Sequence[Change]
    warnings: Sequence[FieldProblem] = ()


@dataclass(slots=True)
class Application:
    """One run: what is known, what was found wrong, what was changed."""

    session: AsyncSession
    catalogue: Catalogue
    now_ms: int
    ids: Ids
    firm_uids: UidRange
    changes: list[Change] = field(default_factory=list)
    problems: list[FieldProblem] = field(default_factory=list)
    warnings: list[FieldProblem] = field(default_factory=list)  # of what was written, and can hardly be meant
    quotas_at: dict[str, str] = field(default_factory=dict)  # "queue acme/default" -> its path in the file

    def note(self, kind: str, name: str, was: Mapping[str, object] | None, now: Mapping[str, object]) -> bool:
        """Record the outcome of one object; True where something has to be written."""
        if was is None:
            self.changes.append(Change(kind, name, CREATED))
            return True
        differences = tuple(Difference(key, was[key], now[key]) for key in now if was[key] != now[key])
        self.changes.append(Change(kind, name, CHANGED if differences else UNCHANGED, differences))
        return bool(differences)

    def refuse(self, where: str, got: object, want: str) -> None:
        self.problems.append(FieldProblem(where, str(got), want))

    async def log(self, record: Record, fact: str, firm_id: str | None = None) -> None:
        """Leave a record for the evidence log; the ledger signs it with the log key."""
        await self.session.execute(
            insert(EvidenceIntakeRow)
            .values(type=entry_type(record), firm_id=firm_id, body=encode_record(record), fact=fact)
            .inline()
        )
