"""Where nodes hang in the network, as an operator says it: also before a node is enrolled."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.configuration_reading import NodeEntry
from scheduler.storage.tables import NodePlaceRow

Said = Mapping[str, object]


async def write_places(
    session: AsyncSession, wanted: Iterable[NodeEntry]
) -> list[tuple[str, Said | None, Said]]:
    """Stores what is new; returns (name, what was said before or None, what is said now) of every node."""
    known = {row.name: row for row in await session.scalars(select(NodePlaceRow))}
    told: list[tuple[str, Said | None, Said]] = []
    for entry in wanted:
        now = asdict(entry.place)
        row = known.get(entry.name)
        was = None if row is None else {key: getattr(row, key) for key in now}
        told.append((entry.name, was, now))
        if was != now:
            statement = insert(NodePlaceRow).values(name=entry.name, **now)
            await session.execute(
                statement.on_conflict_do_update(index_elements=[NodePlaceRow.name], set_=now)
            )
    return told
