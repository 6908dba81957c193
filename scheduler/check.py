"""`scheduler check`: do the invariants hold in this installation, as far as its data can show?"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.settings import Settings
from scheduler.storage import roles
from scheduler.wiring import role_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

LOG_RULES = 2


async def check_installation(settings: Settings, say: Callable[[str], None]) -> int:
    """Check everything and say what was found; return how many rules are broken. Raises DatabaseAway."""
    from scheduler.storage.engine import Database
    from scheduler.storage.invariants import RULES, find_exceptions

    # Read before the snapshot: the database may then know more than the published log, never less.
    published = _published(settings.log_place)
    database = Database(role_url(settings, roles.API), "check", pool_size=1)
    broken = 0
    try:
        async with database.snapshot() as session:
            async for finding in find_exceptions(session):
                if not finding.count:
                    continue
                broken += 1
                say(f"BROKEN: {finding.sentence} ({finding.count} exceptions)")
                for exception in finding.exceptions:
                    say(f"  {exception}")
            for problem in await _check_log(session, published):
                broken += 1
                say(f"BROKEN: {problem}")
    finally:
        await database.dispose()
    say(f"{len(RULES) + LOG_RULES} rules checked, {broken} broken")
    return broken


def _published(place: Path | str) -> tuple[int, str] | None:
    """Size and hex root of the published log checkpoint. Raises EvidenceError for one that cannot be read."""
    from scheduler.storage.tile_store import TileStore
    from suanli.evidence.log_checkpoint import parse_log_checkpoint
    from suanli.evidence.signed_note import parse_note

    note = TileStore(place).checkpoint()
    if note is None:
        return None
    head = parse_log_checkpoint(parse_note(note).text)
    return head.size, head.root.hex()


async def _check_log(session: "AsyncSession", published: tuple[int, str] | None) -> list[str]:
    """Whether the entries of the database have the roots that were signed and published."""
    from scheduler.storage.invariants import leaves, newest_log_checkpoint
    from suanli.evidence.merkle import CompactRange, leaf_hash

    signed = await newest_log_checkpoint(session)
    wanted = {head[0]: "" for head in (signed, published) if head is not None}
    tree = CompactRange()
    if 0 in wanted:
        wanted[0] = tree.root().hex()
    async for leaf in leaves(session):
        tree.append(leaf_hash(leaf))
        if tree.size in wanted:
            wanted[tree.size] = tree.root().hex()
    problems = []
    for what, head in (("newest log checkpoint", signed), ("published log checkpoint", published)):
        if head is None:
            continue
        size, root = head
        if size > tree.size:
            problems.append(f"the {what} has {size} entries, the database {tree.size}")
        elif wanted[size] != root:
            problems.append(f"the {what} has another root than the database's {size} entries")
    return problems
