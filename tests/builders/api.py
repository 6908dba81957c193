"""An API on a real database with two firms, people of every role, and nodes with simulated devices."""

import asyncio
import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.api.app import create_app
from scheduler.api.config import ApiConfig
from scheduler.api.server import serve
from scheduler.api.state import Api
from scheduler.catalogue import load_catalogue
from scheduler.domain.authorise import Principal
from scheduler.domain.configuration_reading import configuration_from_json
from scheduler.domain.firms import UidRange
from scheduler.domain.ids import Ids
from scheduler.domain.principals import Role
from scheduler.services.configuration import ANY_UID, apply_configuration
from scheduler.services.firms import list_firms
from scheduler.services.principals import create_api_key, create_principal
from scheduler.storage.engine import Database
from scheduler.storage.pokes import Channel, poke
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    DeviceRow,
    EventRow,
    JobStateRow,
    NodeRow,
    NodeStateRow,
    ReportRow,
)
from tests.builders.database import DatabaseUrls
from tests.builders.running import ended

T = TypeVar("T")
NOW_MS = 1_800_000_000_000
IDS = Ids(os.urandom)
MODEL = "ascend-910b3"
PEOPLE = {
    "lin": ("researcher", "lanjing"),
    "wang": ("firm_administrator", "lanjing"),
    "zhao": ("researcher", "beiming"),
    "sun": ("firm_administrator", "beiming"),
    "ops": ("operator", None),
    "audit": ("auditor", None),
}
CONFIGURATION: dict[str, Any] = {
    "pools": [{"name": "haidian", "patience_seconds": 30}],
    "firms": [
        {
            "name": "lanjing",
            "title": "Lanjing AI Co., Ltd.",
            "projects": ["default", "vision"],
            "queues": [{"name": "default", "pools": ["haidian"]}],
        },
        {"name": "beiming", "title": "Beiming Robotics Co., Ltd."},
    ],
    "prices": [
        {"model": MODEL, "price_cny_per_device_hour": "12.50", "effective_from": "2026-01-01T00:00:00+08:00"}
    ],
}


def job_spec(**changes: Any) -> dict[str, Any]:
    """A valid spec in the shorthand of one variant."""
    return {"name": "tune", "model": MODEL, "command": "python train.py", **changes}


@dataclass
class Clock:
    """The API's clock, moved by the test."""

    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class ApiInstallation:
    """A running application and its inhabitants."""

    app: FastAPI
    config: ApiConfig
    urls: DatabaseUrls
    clock: Clock
    keys: Mapping[str, str]
    firms: Mapping[str, str]  # name -> id
    controller: Database
    gateway: Database
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def api(self) -> Api:
        """The state that all requests share."""
        state: Api = self.app.state.api
        return state

    def as_(self, person: str | None, app: FastAPI | None = None) -> httpx.AsyncClient:
        """A client with the person's key; None: without any. `app`: another process of the same installation."""
        headers = {} if person is None else {"Authorization": f"Bearer {self.keys[person]}"}
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app or self.app, raise_app_exceptions=False),
            base_url="http://suanli.test",
            headers=headers,
        )
        self.clients.append(client)
        return client

    async def handshake(self, person: str | None, path: str, query: bytes = b"") -> httpx.Response:
        """The answer with which a WebSocket is denied. An error of the application is raised here."""
        said: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message)

        key = [] if person is None else [(b"authorization", f"Bearer {self.keys[person]}".encode())]
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws",
            "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "headers": key,
            "client": ("127.0.0.1", 1), "server": ("suanli.test", 80), "subprotocols": [], "state": {},
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await self.app(scope, receive, send)
        assert said[0]["type"] == "websocket.http.response.start", said[0]
        body = b"".join(message.get("body", b"") for message in said[1:])
        return httpx.Response(said[0]["status"], headers=said[0]["headers"], content=body)

    async def ask(self, person: str | None, method: str, path: str) -> httpx.Response:
        """One request without a query, with an empty body where the method has one; WEBSOCKET: a handshake."""
        if method == "WEBSOCKET":
            return await self.handshake(person, path)
        body = {} if method in ("POST", "PUT", "PATCH") else None
        return await self.as_(person).request(method, path, json=body)

    async def submit(self, person: str = "lin", **changes: Any) -> str:
        """Submit a job and return its id."""
        answer = await self.as_(person).post("/v1/jobs", json=job_spec(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job_id"])

    async def as_controller(self, *statements: Any) -> None:
        """Run statements with the controller's rights, and poke the streams."""
        async with self.controller.transaction() as session:
            for statement in statements:
                await session.execute(statement)
            await poke(session, Channel.EVENTS)

    async def set_state(self, job_id: str, firm: str = "lanjing", **values: Any) -> None:
        """Give a job a state as the controller would."""
        row = {
            "firm_id": self.firms[firm],
            "job_id": job_id,
            "state": "running",
            "version": 1,
            "attempt": 1,
            "device_model": MODEL,
            "changed_ms": self.clock.now_ms,
            **values,
        }
        await self.as_controller(insert(JobStateRow).values(**row))

    async def add_attempt(
        self,
        job_id: str,
        node_id: str,
        devices: Sequence[str],
        firm: str = "lanjing",
        share_ppm: int = 1_000_000,
    ) -> str:
        """Give a job its first attempt with one running task on these devices, or a part of each."""
        firm_id = self.firms[firm]
        allocation_id = IDS.new(self.clock.now_ms)
        of_job = {"firm_id": firm_id, "job_id": job_id, "attempt": 1}
        now_ms = self.clock.now_ms
        await self.as_controller(
            insert(AttemptRow).values(
                **of_job, variant=0, device_model=MODEL, state="running", why_here={"sentence": "it fits"},
                allocated_ms=now_ms, started_ms=now_ms,
            ),
            insert(AllocationRow).values(
                **of_job, allocation_id=allocation_id, rank=0, node_id=node_id, goal="run", phase="running",
                live=True, granted_ms=now_ms, started_ms=now_ms,
            ),
            insert(AllocationDeviceRow).values(
                [
                    {
                        "firm_id": firm_id, "allocation_id": allocation_id, "device_id": device,
                        "share_ppm": share_ppm, "live": True,
                    }
                    for device in devices
                ]
            ),
        )  # fmt: skip
        return allocation_id

    async def add_event(self, seq: int, kind: str, job_id: str | None, firm: str | None = "lanjing") -> None:
        """Commit an event as the controller would."""
        await self.as_controller(
            insert(EventRow).values(
                event_seq=seq,
                at_ms=self.clock.now_ms,
                kind=kind,
                firm_id=None if firm is None else self.firms[firm],
                job_id=job_id,
                data={},
            )
        )

    async def add_report(self, job_id: str, firm: str = "lanjing", **values: Any) -> None:
        """Let the planner say why a job waits."""
        row = {
            "firm_id": self.firms[firm],
            "job_id": job_id,
            "position": 1,
            "reasons": [],
            "counterfactual": None,
            "at_ms": self.clock.now_ms,
            **values,
        }
        await self.as_controller(insert(ReportRow).values(**row))

    async def add_node(self, name: str, devices: int = 8, model: str = MODEL) -> tuple[str, list[str]]:
        """Enrol a node and let the controller know it; returns its id and its devices' ids."""
        node_id = IDS.new(self.clock.now_ms)
        device_ids = [IDS.new(self.clock.now_ms) for _ in range(devices)]
        async with self.gateway.transaction() as session:
            await _enrol(session, node_id, name, device_ids, model)
        await self.as_controller(
            insert(NodeStateRow).values(
                node_id=node_id, state="connected", generation=1, leader_term=1, isolation="uid",
                agent_version="0.1.0", changed_ms=self.clock.now_ms,
            )
        )  # fmt: skip
        return node_id, device_ids


async def _enrol(
    session: AsyncSession, node_id: str, name: str, device_ids: Sequence[str], model: str
) -> None:
    await session.execute(
        insert(NodeRow).values(node_id=node_id, name=name, pool="haidian", metering_from_ms=NOW_MS)
    )
    await session.execute(
        insert(DeviceRow),
        [
            {
                "device_id": device_id, "node_id": node_id, "index": index, "vendor": "ascend",
                "model": model, "driver": "simulated", "simulated": True, "memory_bytes": 64 << 30,
                "fast_link_group": index // 4, "claims": {},
            }
            for index, device_id in enumerate(device_ids)
        ],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InhabitedUrls(DatabaseUrls):
    """A database with firms and people in it: keys by person, firm ids by name."""

    keys: Mapping[str, str]
    firms: Mapping[str, str]


async def inhabit(urls: DatabaseUrls, now_ms: int = NOW_MS) -> InhabitedUrls:
    """Configure firms and people."""
    database = Database(urls.api, "test-inhabit", 1)
    keys: dict[str, str] = {}
    async with database.transaction() as session:
        made_first = await create_principal(
            session, None, name="ops", role="operator", firm=None, kind="user", now_ms=now_ms, ids=IDS
        )
        operator = Principal(made_first.principal_id, "ops", "user", Role.OPERATOR, None)
        await apply_configuration(
            session,
            operator,
            configuration_from_json(CONFIGURATION),
            dry_run=False,
            catalogue=load_catalogue(),
            now_ms=now_ms,
            ids=IDS,
        )
        for name, (role, firm) in PEOPLE.items():
            if name != "ops":
                await create_principal(
                    session, None, name=name, role=role, firm=firm, kind="user", now_ms=now_ms, ids=IDS
                )
            made = await create_api_key(
                session, None, principal=name, expires_in_days=None, now_ms=now_ms, ids=IDS
            )
            keys[name] = made.secret
        firms = {firm.name: firm.firm_id for firm in await list_firms(session, operator)}
    await database.dispose()
    return InhabitedUrls(**dataclasses.asdict(urls), keys=keys, firms=firms)


@asynccontextmanager
async def running_api(
    urls: InhabitedUrls, folder: Path, firm_uids: UidRange = ANY_UID, **changes: Any
) -> AsyncIterator[ApiInstallation]:
    """An application in this event loop, with a node of eight devices."""
    clock = Clock()
    config = ApiConfig(
        database_url=urls.api,
        host="127.0.0.1",
        port=0,
        log_place=folder / "log",
        job_log_folder=folder / "logs",
        content_folder=folder / "content",
        now_ms=clock,
        firm_uids=firm_uids,
        **changes,
    )
    app = create_app(config)
    controller, gateway = (
        Database(urls.controller, "test-controller", 1),
        Database(urls.gateway, "test-gateway", 1),
    )
    installation = ApiInstallation(app, config, urls, clock, urls.keys, urls.firms, controller, gateway)
    async with app.router.lifespan_context(app):
        await installation.add_node("node-1")
        yield installation
        await asyncio.gather(*(client.aclose() for client in installation.clients))
    await controller.dispose()
    await gateway.dispose()


@asynccontextmanager
async def served(installation: ApiInstallation, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The same installation over a real socket; gives the server's URL."""
    stop = asyncio.Event()
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    config = dataclasses.replace(installation.config, host=host)
    running = asyncio.create_task(serve(config, stop, lambda said: listening.set_result(said["url"])))
    try:
        yield await asyncio.wait_for(listening, 20)
    finally:
        stop.set()
        await ended(running)


class ApiInThread:
    """A served installation for tests that block, such as those of the command line."""

    def __init__(self, urls: InhabitedUrls, folder: Path, **config: Any) -> None:
        self._urls = urls
        self._config = config
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )
        self._ready = threading.Event()
        self.installation: ApiInstallation
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(120)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self) -> None:
        try:
            async with (
                running_api(self._urls, self._folder, **self._config) as self.installation,
                served(self.installation) as self.url,
            ):
                self._ready.set()
                await self._stop.wait()
        finally:
            self._ready.set()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the installation there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def environment(self, person: str | None, home: Path) -> dict[str, str]:
        """What the command line sees."""
        known = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_COLOR": "1", "TZ": "Asia/Shanghai"}
        known["PYTHONWARNINGS"] = "error"
        if person is not None:
            known |= {"SUANLI_SERVER": self.url, "SUANLI_API_KEY": self.installation.keys[person]}
        return known
