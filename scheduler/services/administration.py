"""Administrative acts: each leaves an entry of the evidence log, in the transaction that does it."""

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Principal
from scheduler.storage.fact_names import act_fact
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import EvidenceIntakeRow
from suanli.evidence.records import AdministrativeAct, encode_record, entry_type

MACHINE = "machine"


async def note_act(
    session: AsyncSession,
    actor: Principal | None,
    act: str,
    subject: str,
    now_ms: int,
    new_id: str | None = None,
) -> None:
    """Leave what was done for the ledger, which signs it with the log key; `new_id`: of what can be done again.

    `actor` None is the administrator at the machine itself. Acts that change nothing are not noted.
    """
    record = AdministrativeAct(
        act=act,
        actor_id=MACHINE if actor is None else actor.principal_id,
        actor_role=MACHINE if actor is None else actor.role.value,
        subject=subject,
        at_ms=now_ms,
    )
    fact = act_fact(act, subject, new_id)
    await session.execute(
        insert(EvidenceIntakeRow)
        .values(type=entry_type(record), firm_id=None, body=encode_record(record), fact=fact)
        .inline()
    )
    await poke(session, Channel.EVIDENCE)
