"""A real ledger on a real PostgreSQL, a real witness over HTTP, and rows that the other processes put."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.ledger.loop import LedgerConfig, serve
from scheduler.services.join_tokens import create_join_token
from scheduler.storage import tables
from scheduler.storage.engine import Database
from suanli.evidence.entries import ALLOCATION_EVENT, signing_message
from suanli.evidence.keys import NOTE_ED25519, SigningKey, VerifierKey, verifier_key
from suanli.evidence.policy import Policy, PolicyLog, PolicyWitness
from suanli.evidence.records import (
    AllocationEvent,
    DeviceShare,
    Firm,
    PriceVersion,
    ProgramVersion,
    Record,
    encode_record,
    entry_type,
)
from suanli.witness.folder import WitnessFolder
from suanli.witness.server import make_witness
from tests.builders.database import DatabaseUrls
from tests.builders.evidence import price, program, seed
from tests.builders.gateway import now_ms
from tests.builders.running import ended, serving

ORIGIN = "ledger.example/test"
MODEL = "ascend-910b3"
FIRM = "firm-a"
POOL = "pool-a"


@dataclass(frozen=True)
class Keys:
    """The keys of an installation, in memory and in files."""

    folder: Path
    log: SigningKey
    controller: SigningKey

    @property
    def log_key_path(self) -> Path:
        """PEM of the log's key."""
        return self.folder / "log.key"

    @property
    def controller_public_path(self) -> Path:
        """PEM of the controller's public key."""
        return self.folder / "controller.pub"

    @property
    def vkey(self) -> VerifierKey:
        """What others need to check the log."""
        return verifier_key(ORIGIN, NOTE_ED25519, self.log.public_key)


def make_keys(folder: Path) -> Keys:
    """Keys from fixed seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = Keys(folder, SigningKey(seed("log")), SigningKey(seed("controller")))
    private = Ed25519PrivateKey.from_private_bytes(keys.log.seed())
    keys.log_key_path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = Ed25519PrivateKey.from_private_bytes(keys.controller.seed()).public_key()
    keys.controller_public_path.write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return keys


@dataclass
class RunningLedger:
    """A ledger process inside the test."""

    task: asyncio.Task[None]
    announced: asyncio.Event
    stop: asyncio.Event
    config: LedgerConfig


@asynccontextmanager
async def running_ledger(
    database_url: str, keys: Keys, log_folder: Path, **changes: object
) -> AsyncIterator[RunningLedger]:
    """A ledger until the block ends."""
    config = LedgerConfig(
        database_url=database_url,
        holder="ledger-1",
        log_key_path=keys.log_key_path,
        controller_public_key_path=keys.controller_public_path,
        log_place=log_folder,
        payload_place=log_folder.with_name(log_folder.name + "-payloads"),
        origin=ORIGIN,
        period_ms=50,
        rating_period_ms=100,
        settle_ms=1_000,
    )
    config = replace(config, **changes)  # type: ignore[arg-type]
    stop, announced = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(config, stop, lambda _: announced.set()))
    try:
        yield RunningLedger(task, announced, stop, config)
    finally:
        stop.set()
        await ended(task)


@dataclass(frozen=True)
class RunningWitness:
    """A witness that serves on loopback."""

    name: str
    url: str
    key: VerifierKey

    def as_config(self) -> tuple[str, str, str]:
        """What the ledger is told of it."""
        return (self.name, self.url, str(self.key))


@contextmanager
def running_witness(folder: Path, log_key: VerifierKey, name: str = "auditor") -> Iterator[RunningWitness]:
    """A witness that knows the log, until the block ends."""
    made = WitnessFolder(folder)
    if not made.exists():
        made.create(f"witness.example/{name}", seed(f"witness {name}"))
        made.add_log(str(log_key))
    with serving(make_witness(folder, "127.0.0.1", 0)) as server:
        yield RunningWitness(name, server.url, made.verifier_key())


def policy(keys: Keys, *witnesses: RunningWitness) -> Policy:
    """Of a reader who trusts this log and wants the first witness's cosignature."""
    found = tuple(PolicyWitness(witness.name, witness.key) for witness in witnesses)
    return Policy((PolicyLog(keys.vkey),), found, (), found[0].name if found else "none")


class World:
    """What API and controller would have put into the database."""

    def __init__(self, urls: DatabaseUrls, keys: Keys) -> None:
        self.owner = Database(urls.owner, "test")
        self.api = Database(urls.api, "test-api")
        self._keys = keys
        self._event_seq = 0

    async def close(self) -> None:
        """Closes its connections."""
        await self.owner.dispose()
        await self.api.dispose()

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """What is in the database."""
        async with self.owner.read() as session:
            return [tuple(row) for row in await session.execute(text(statement), values)]

    async def execute(self, statement: str, **values: Any) -> None:
        """Changes the database as nobody that runs may."""
        async with self.owner.transaction() as session:
            await session.execute(text(statement), values)

    async def configure(self, firm: str = FIRM) -> None:
        """A pool, and a firm with a project, a researcher and a queue; its name is logged."""
        async with self.owner.transaction() as session:
            await session.execute(
                text("INSERT INTO pools (name) VALUES (:n) ON CONFLICT DO NOTHING"), {"n": POOL}
            )
            uid = 400_000 + (await session.scalar(select(func.count()).select_from(tables.FirmRow)) or 0)
            await session.execute(insert(tables.FirmRow).values(firm_id=firm, name=firm, title=firm, uid=uid))
            await session.execute(insert(tables.ProjectRow).values(firm_id=firm, name="default"))
            await session.execute(
                insert(tables.PrincipalRow).values(
                    principal_id=f"{firm}-ana",
                    name=f"{firm}-ana",
                    kind="user",
                    role="researcher",
                    firm_id=firm,
                )
            )
            await session.execute(insert(tables.QueueRow).values(firm_id=firm, name="default", pools=[POOL]))
            await self._fact(session, Firm(firm, firm, now_ms()), f"firm/{firm}", firm)

    async def set_price(self, effective_from_ms: int, **changes: Any) -> PriceVersion:
        """A price of MODEL, in the table and on its way into the log."""
        version = price(effective_from_ms=effective_from_ms, **changes)
        async with self.owner.transaction() as session:
            await session.execute(
                insert(tables.PriceVersionRow).values(
                    price_id=version.price_id,
                    device_model=version.device_model,
                    price_nano_cny=version.price_nano_cny,
                    effective_from_ms=effective_from_ms,
                )
            )
            await self._fact(session, version, f"price/{version.price_id}")
        return version

    async def set_program(self, effective_from_ms: int) -> ProgramVersion:
        """A program for MODEL on its way into the log."""
        version = program(effective_from_ms=effective_from_ms)
        async with self.owner.transaction() as session:
            await self._fact(session, version, f"program/{version.program_id}/{version.version}")
        return version

    async def join_token(self, uses: int = 10, lifetime_ms: int = 3_600_000) -> str:
        """A token for POOL."""
        async with self.api.transaction() as session:
            made = await create_join_token(
                session,
                pool=POOL,
                uses=uses,
                lifetime_ms=lifetime_ms,
                created_by=None,
                now_ms=now_ms(),
            )
        return made.token

    async def _fact(
        self, session: AsyncSession, record: Record, fact: str, firm: str | None = None, **columns: object
    ) -> None:
        await session.execute(
            insert(tables.EvidenceIntakeRow).values(
                type=entry_type(record), firm_id=firm, body=encode_record(record), fact=fact, **columns
            )
        )

    async def fact(self, record: Record, fact: str, firm: str | None = None, **columns: object) -> None:
        """Leaves any fact for the log."""
        async with self.owner.transaction() as session:
            await self._fact(session, record, fact, firm, **columns)

    async def allocate(
        self,
        allocation_id: str,
        node_id: str,
        device_ids: Sequence[str],
        granted_ms: int,
        *,
        job_id: str = "job-1",
        firm: str = FIRM,
        command: Sequence[str] = ("/bin/true",),
    ) -> None:
        """A job with one running task on a node, as the controller would commit it."""
        spec = {
            "name": "train",
            "model": MODEL,
            "command": list(command),
            "gang": {"devices": len(device_ids)},
        }
        async with self.owner.transaction() as session:
            for row, values in (
                (
                    tables.JobRow,
                    {
                        "project": "default",
                        "queue": "default",
                        "name": "train",
                        "spec": spec,
                        "submitted_by": f"{firm}-ana",
                        "submitted_ms": granted_ms,
                    },
                ),
                (
                    tables.AttemptRow,
                    {
                        "attempt": 1,
                        "variant": 0,
                        "device_model": MODEL,
                        "state": "running",
                        "why_here": {},
                        "allocated_ms": granted_ms,
                    },
                ),
                (
                    tables.AllocationRow,
                    {
                        "allocation_id": allocation_id,
                        "attempt": 1,
                        "rank": 0,
                        "node_id": node_id,
                        "goal": "run",
                        "live": True,
                        "granted_ms": granted_ms,
                    },
                ),
            ):
                await session.execute(insert(row).values(firm_id=firm, job_id=job_id, **values))
            for device_id in device_ids:
                await session.execute(
                    insert(tables.AllocationDeviceRow).values(
                        firm_id=firm,
                        allocation_id=allocation_id,
                        device_id=device_id,
                        share_ppm=1_000_000,
                        live=True,
                    )
                )
        await self.allocation_event(
            "granted",
            allocation_id,
            granted_ms,
            node_id=node_id,
            devices=device_ids,
            job_id=job_id,
            firm=firm,
        )

    async def allocation_event(
        self,
        event: str,
        allocation_id: str,
        at_ms: int,
        *,
        node_id: str,
        devices: Sequence[str],
        job_id: str = "job-1",
        firm: str = FIRM,
    ) -> None:
        """What the controller says of an allocation, signed with its key."""
        self._event_seq += 1
        record = AllocationEvent(
            event=event,
            allocation_id=allocation_id,
            job_id=job_id,
            attempt=1,
            rank=0,
            firm_id=firm,
            project="default",
            devices=tuple(DeviceShare(device_id, 1_000_000) for device_id in devices),
            node_id=node_id,
            at_ms=at_ms,
            event_seq=self._event_seq,
            reason="",
            time_limit_ms=None,
        )
        body = encode_record(record)
        signature = self._keys.controller.sign(signing_message(ALLOCATION_EVENT, body))
        await self.fact(
            record,
            f"allocation/{allocation_id}/{event}",
            firm,
            signature=signature,
            producer_key_id=self._keys.controller.key_id,
        )
        if event == "ended":
            await self.execute(
                "UPDATE allocations SET live = false, ended_ms = :at WHERE allocation_id = :id",
                at=at_ms,
                id=allocation_id,
            )
