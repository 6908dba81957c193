"""The real controller on a real PostgreSQL: rows that the other processes put, and a leader to drive."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import func, insert, select, text

from scheduler.catalogue import load_catalogue
from scheduler.controller.commit import CycleConfig, Leader, Seat
from scheduler.domain.ids import Ids
from scheduler.domain.jobs import JobSpec
from scheduler.domain.nodes import Node
from scheduler.planner import PlannerConfig
from scheduler.storage import inbox, tables
from scheduler.storage.cluster import load_state
from scheduler.storage.engine import Database
from scheduler.storage.leadership import Leadership
from suanli.evidence.keys import SigningKey

FIRM = "firm-a"
NOW_MS = 1_700_000_000_000


def write_key(path: Path) -> Path:
    """A controller's key in a PEM file."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


class Installation:
    """What the other processes put into the database."""

    def __init__(self, database: Database) -> None:
        self.database = database  # with rights to write everywhere: the owner's

    async def configure(self, pools: Sequence[str] = ("pool-a",), firm: str = FIRM) -> None:
        """A firm with a project, a researcher and a queue, and pools."""
        async with self.database.transaction() as session:
            uid = 400_000 + (await session.scalar(select(func.count()).select_from(tables.FirmRow)) or 0)
            await session.execute(insert(tables.FirmRow).values(firm_id=firm, name=firm, title=firm, uid=uid))
            await session.execute(insert(tables.ProjectRow).values(firm_id=firm, name="default"))
            await session.execute(
                insert(tables.PrincipalRow).values(
                    principal_id=f"{firm}-ana", name=f"{firm}-ana", kind="user", role="researcher",
                    firm_id=firm,
                )
            )  # fmt: skip
            for pool in pools:
                await session.execute(insert(tables.PoolRow).values(name=pool))
            await session.execute(
                insert(tables.QueueRow).values(firm_id=firm, name="default", pools=list(pools))
            )
            await inbox.put(session, "ConfigurationChanged", {})

    async def enrol(self, node: Node, *, connect: bool = True) -> None:
        """A node as the gateway registers it, and its agent's stream."""
        async with self.database.transaction() as session:
            await session.execute(
                insert(tables.NodeRow).values(
                    node_id=node.node_id, name=node.name, pool=node.pool, metering_from_ms=NOW_MS
                )
            )
            for device in node.devices:
                await session.execute(
                    insert(tables.DeviceRow).values(
                        device_id=device.device_id, node_id=node.node_id, index=device.index,
                        vendor=device.vendor, model=device.model, driver="simulated", simulated=True,
                        memory_bytes=device.memory_bytes, fast_link_group=device.fast_link_group, claims={},
                    )
                )  # fmt: skip
            await inbox.put(session, "NodeEnrolled", {"node_id": node.node_id})
            if connect:
                await inbox.put(session, "NodeConnected", connected(node.node_id))

    async def beat(self, gateway_id: str = "gateway-1", seen_at: datetime | None = None) -> None:
        """The gateway says that it lives."""
        async with self.database.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO gateways (gateway_id, seen_at, enrolment_address, fleet_address)"
                    " VALUES (:gateway_id, :seen_at, 'a', 'b')"
                    " ON CONFLICT (gateway_id) DO UPDATE SET seen_at = EXCLUDED.seen_at"
                ),
                {"gateway_id": gateway_id, "seen_at": seen_at or datetime.now(UTC)},
            )

    async def submit(self, job_id: str, spec: JobSpec, firm: str = FIRM) -> None:
        """A job as the API stores it."""
        async with self.database.transaction() as session:
            await session.execute(
                insert(tables.JobRow).values(
                    firm_id=firm, job_id=job_id, project=spec.project, queue=spec.queue, name=spec.name,
                    spec=spec.to_json(), submitted_by=f"{firm}-ana", submitted_ms=NOW_MS,
                )
            )  # fmt: skip
            await inbox.put(session, "JobSubmitted", {"firm_id": firm, "job_id": job_id})

    async def put(self, kind: str, body: dict[str, object]) -> None:
        """Any inbox message."""
        async with self.database.transaction() as session:
            await inbox.put(session, kind, body)

    async def report(self, node_id: str, tasks: Sequence[dict[str, object]], report_seq: int) -> None:
        """A node's report that has obeyed everything there is."""
        async with self.database.transaction() as session:
            row = await session.get(tables.NodeStateRow, node_id)
            assert row is not None
            body = {
                "node_id": node_id, "leader_term": row.leader_term, "generation": row.generation,
                "report_seq": report_seq, "tasks": list(tasks), "unhealthy": {}, "at_ms": NOW_MS,
            }  # fmt: skip
            await inbox.put(session, "NodeReported", body)

    async def rows(self, sql: str, **arguments: object) -> list[tuple[object, ...]]:
        """Looks into the database."""
        async with self.database.read() as session:
            return [tuple(row) for row in await session.execute(text(sql), arguments)]


def connected(node_id: str, gateway_id: str = "gateway-1") -> dict[str, object]:
    """Body of NodeConnected."""
    return {
        "node_id": node_id, "gateway_id": gateway_id, "boot_id": "boot-1", "agent_version": "0.1.0",
        "isolation": "uid", "rendezvous_address": "127.0.0.1", "unhealthy": {}, "at_ms": NOW_MS,
    }  # fmt: skip


async def a_leader(database: Database, leadership: Leadership, term: int, *, now_ms: int = NOW_MS) -> Leader:
    """Loads the state and gives the leader of this term, to be driven cycle by cycle."""
    async with database.transaction() as session:
        await leadership.guard(session, term)
        state = await load_state(session, load_catalogue(), now_ms)
    seat = Seat(database, leadership, term, SigningKey(b"k" * 32), Ids(random.Random(term).randbytes))
    return Leader(seat, state, CycleConfig(PlannerConfig()))


OpenDatabase = Callable[[str], Database]
