"""The gateway process: two ports, and the loops beside them."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import grpc
import structlog
from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import Insert, insert

from protos.suanli.fleet.v1 import (
    content_pb2_grpc,
    control_pb2_grpc,
    enrolment_pb2_grpc,
    logs_pb2_grpc,
    tunnel_pb2_grpc,
    usage_pb2_grpc,
)
from scheduler.domain.ids import Ids
from scheduler.rpc.allowances import CALL_LIMITS, Allowances, StreamLimits
from scheduler.rpc.certificates import (
    CERTIFICATE_LIFETIME,
    CertificateAuthority,
    ServerCertificate,
)
from scheduler.rpc.connections import Connections, wait_any
from scheduler.rpc.content import ContentServicer
from scheduler.rpc.control import CONTROL_LIMITS, ControlConfig, ControlServicer
from scheduler.rpc.enrolment import EnrolmentServicer
from scheduler.rpc.logs import LogServicer
from scheduler.rpc.tunnels import TunnelDoor, TunnelServicer
from scheduler.rpc.usage import Uploads, UsageServicer
from scheduler.services.content import USUAL_QUOTA, Quota
from scheduler.services.sealing import SecretKeys
from scheduler.storage import inbox
from scheduler.storage.content import ContentStore
from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.job_logs import DEFAULT_ATTEMPT_LIMIT_BYTES, DEFAULT_LIMIT_BYTES, JobLogs
from scheduler.storage.pokes import Channel, Listener
from scheduler.storage.segments import UNPACKED_LIMIT_BYTES
from scheduler.storage.tables import GatewayRow

# A window of a large node with many short tasks; the largest message that anybody sends.
MOST_MESSAGE_BYTES = UNPACKED_LIMIT_BYTES  # a window comes in one
MOST_ENROLMENT_BYTES = 1 << 20
STOP_GRACE_S = 2.0
# A gateway that was killed left its row, and the next one has another name.
REGISTER_KEPT = timedelta(days=1)

Announce = Callable[[dict[str, str]], None]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What a gateway needs to serve. Ports of 0 are chosen by the system and announced."""

    database_url: str
    gateway_id: str
    ca_certificate: Path
    ca_key: Path
    server_certificate: Path
    server_key: Path
    job_log_folder: Path
    host: str = "127.0.0.1"
    fleet_port: int = 0
    enrolment_port: int = 0
    # The address that agents dial, where it is not the one listened on.
    advertised_host: str | None = None
    # Where the API asks for tunnels, and what it must know for it. No secret: no tunnels.
    tunnel_host: str = "127.0.0.1"
    tunnel_port: int = 0
    tunnel_secret: Path | None = None
    # Under which the secrets of firms are encrypted. None: no task is given any.
    secret_keys: Path | None = None
    # The published log, where it is on this machine; Welcome takes the checkpoint from the database.
    window_ms: int = 300_000
    heartbeat_ms: int = 2_000
    certificate_lifetime: timedelta = CERTIFICATE_LIFETIME
    # How often to look for what pokes may have missed.
    period_ms: int = 2_000
    # Of one stream of a process, and of all streams of an attempt.
    job_log_limit_bytes: int = DEFAULT_LIMIT_BYTES
    attempt_log_limit_bytes: int = DEFAULT_ATTEMPT_LIMIT_BYTES
    # Content of firms, shared with the API; results are kept for so long unless the job says otherwise.
    content_folder: Path = Path("content")
    content_quota: Quota = USUAL_QUOTA
    result_keep_ms: int = 30 * 86_400_000
    usage_limits: StreamLimits = field(default_factory=StreamLimits)
    control_limits: StreamLimits = CONTROL_LIMITS
    call_limits: StreamLimits = CALL_LIMITS

    def __post_init__(self) -> None:
        if self.window_ms < 1 or 300_000 % self.window_ms:
            raise ValueError(f"window_ms must divide 300000, and {self.window_ms} does not")


def _options(most_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", most_bytes),
        ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
        ("grpc.max_metadata_size", 16 * 1024),
        # Each open connection of a tunnel is a stream of its own.
        ("grpc.max_concurrent_streams", 1_000),
        # Two gateways on one port would each get half of the agents' pokes.
        ("grpc.so_reuseport", 0),
        # A host that lost power is noticed although nothing is sent to it.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]


class Gateway:
    """The parts of one gateway, wired."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.database = Database(config.database_url, f"gateway-{config.gateway_id}", pool_size=8)
        self.connections = Connections(self.database, config.gateway_id)
        self.direct = Direct(config.database_url, f"gateway-{config.gateway_id}-windows")
        self.uploads = Uploads(self.direct)
        self.usage = UsageServicer(self.database, self.direct, self.uploads, config.usage_limits)
        self.tunnels = TunnelDoor(self.connections)
        self._authority = CertificateAuthority.load(
            config.ca_certificate, config.ca_key, config.certificate_lifetime
        )
        self._certificate = ServerCertificate(config.server_certificate, config.server_key)
        self._enrolment = grpc.aio.server(options=_options(MOST_ENROLMENT_BYTES))
        self._fleet = grpc.aio.server(options=_options(MOST_MESSAGE_BYTES))
        self._add_services()

    def _add_services(self) -> None:
        config = self.config
        enrolment = EnrolmentServicer(self.database, self._authority, Ids(os.urandom), config.window_ms)
        control_config = ControlConfig(
            config.gateway_id,
            config.heartbeat_ms,
            None if config.secret_keys is None else SecretKeys(config.secret_keys),
            config.control_limits,
        )
        calls = Allowances(config.call_limits, what="calls")
        control = ControlServicer(self.database, self.connections, self._authority, control_config, calls)
        job_logs = JobLogs(config.job_log_folder, config.job_log_limit_bytes, config.attempt_log_limit_bytes)
        logs = LogServicer(self.database, job_logs)
        for add, servicer, server in (
            (enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server, enrolment, self._enrolment),
            (control_pb2_grpc.add_ControlServiceServicer_to_server, control, self._fleet),
            (
                usage_pb2_grpc.add_UsageServiceServicer_to_server,
                self.usage,
                self._fleet,
            ),
            (logs_pb2_grpc.add_LogServiceServicer_to_server, logs, self._fleet),
            (
                content_pb2_grpc.add_ContentServiceServicer_to_server,
                ContentServicer(
                    self.database,
                    ContentStore(config.content_folder),
                    config.content_quota,
                    config.result_keep_ms,
                    calls,
                ),
                self._fleet,
            ),
            (
                tunnel_pb2_grpc.add_TunnelServiceServicer_to_server,
                TunnelServicer(self.database, self.tunnels),
                self._fleet,
            ),
        ):
            add(servicer, server)  # type: ignore[no-untyped-call]  # generated code has no types

    def bind(self) -> dict[str, str]:
        """Take both ports; returns the addresses that agents dial. Raises RuntimeError."""
        config = self.config
        enrolment_port = self._enrolment.add_secure_port(
            f"{config.host}:{config.enrolment_port}",
            self._certificate.credentials(),
        )
        fleet_port = self._fleet.add_secure_port(
            f"{config.host}:{config.fleet_port}",
            self._certificate.credentials(self._authority.certificate_pem),
        )
        host = config.advertised_host or config.host
        return {"enrolment": f"{host}:{enrolment_port}", "fleet": f"{host}:{fleet_port}"}

    async def listen_for_tunnels(self) -> dict[str, str]:
        """Let the API in; returns its address, empty where there is no secret. Raises OSError."""
        config = self.config
        if config.tunnel_secret is None:
            return {}
        address = await self.tunnels.listen(
            config.tunnel_host,
            config.tunnel_port,
            config.server_certificate,
            config.server_key,
            config.tunnel_secret,
        )
        return {} if address is None else {"tunnel": address}

    async def start(self) -> None:
        """Let agents in."""
        await self._enrolment.start()
        await self._fleet.start()

    async def say_started(self, addresses: dict[str, str]) -> None:
        """Enter the register, and say that streams to an earlier process of this name are gone.

        Both before any stream can be opened: the inbox keeps the order of facts. Rows of gateways that are long
        dead go. Raises DatabaseAway.
        """
        async with self.database.transaction() as session:
            await session.execute(delete(GatewayRow).where(GatewayRow.seen_at < func.now() - REGISTER_KEPT))
            await session.execute(self._living(addresses))
            await inbox.put(session, "GatewayStarted", {"gateway_id": self.config.gateway_id})

    async def register(self, addresses: dict[str, str]) -> None:
        """Say that this gateway lives. Raises DatabaseAway."""
        async with self.database.transaction() as session:
            await session.execute(self._living(addresses))

    def _living(self, addresses: dict[str, str]) -> Insert:
        row = insert(GatewayRow).values(
            gateway_id=self.config.gateway_id,
            enrolment_address=addresses["enrolment"],
            fleet_address=addresses["fleet"],
            tunnel_address=addresses.get("tunnel"),
        )
        return row.on_conflict_do_update(
            index_elements=[GatewayRow.gateway_id],
            set_={
                "seen_at": func.now(),
                "enrolment_address": row.excluded.enrolment_address,
                "fleet_address": row.excluded.fleet_address,
                "tunnel_address": row.excluded.tunnel_address,
            },
        )

    async def beat(self, addresses: dict[str, str], stop: asyncio.Event) -> None:
        """Say every heartbeat that this gateway lives, until `stop`; use its certificate when it is a new one."""
        used = self._certificate.certificate_pem
        while not stop.is_set():
            self._certificate.renewed()
            if self._certificate.certificate_pem != used:
                used = self._certificate.certificate_pem
                self.tunnels.certify(self.config.server_certificate, self.config.server_key)
            try:
                await self.register(addresses)
            except DatabaseAway as error:
                _log.warning("gateway_heartbeat_missed", reason=str(error))
            await wait_any([stop], self.config.heartbeat_ms / 1000)

    async def listen(self, listener: Listener, stop: asyncio.Event) -> None:
        """Hand pokes to those who wait for them, until `stop`."""
        while not stop.is_set():
            for channel, payload in await listener.wait(self.config.period_ms / 1000):
                if channel is Channel.DESIRED:
                    self.connections.poke(payload)
                else:
                    self.uploads.poked.set()

    async def close(self) -> None:
        """End the streams, tell the controller, leave the register."""
        await self.tunnels.close()
        self.connections.end_all("the gateway stops")
        await self._enrolment.stop(STOP_GRACE_S)
        await self._fleet.stop(STOP_GRACE_S)
        try:
            await self.connections.tell_gone()
            async with self.database.transaction() as session:
                await session.execute(
                    delete(GatewayRow).where(GatewayRow.gateway_id == self.config.gateway_id)
                )
        except DatabaseAway as error:
            # The controller notices by the heartbeats that stop.
            _log.warning("gateway_left_unsaid", reason=str(error))
        await self.usage.close()
        await self.direct.close()
        await self.database.dispose()


async def serve(config: GatewayConfig, stop: asyncio.Event, announce: Announce) -> None:
    """Serve agents until `stop`; `announce` is called once with the addresses when both ports listen."""
    gateway = Gateway(config)
    loops: list[asyncio.Task[None]] = []
    ended = asyncio.Event()
    try:
        addresses = {**gateway.bind(), **await gateway.listen_for_tunnels()}
        await _first_registration(gateway, addresses, stop)
        await gateway.start()
        async with Listener(
            config.database_url, [Channel.DESIRED, Channel.LOGGED], f"gateway-{config.gateway_id}-pokes"
        ) as listener:
            period_s = config.period_ms / 1000
            loops = [
                asyncio.create_task(gateway.beat(addresses, ended), name="heartbeat"),
                asyncio.create_task(gateway.listen(listener, ended), name="pokes"),
                asyncio.create_task(gateway.connections.serve(ended, period_s), name="connections"),
                asyncio.create_task(gateway.uploads.serve(ended, period_s), name="acknowledgements"),
            ]
            announce(addresses)
            _log.info("gateway_listens", **addresses)
            stopping = asyncio.create_task(stop.wait(), name="stop")
            done, _ = await asyncio.wait([stopping, *loops], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            ended.set()
            for task in done - {stopping}:
                # A loop that ended is a gateway that only looks alive: better to fall and be started again.
                task.result()
            await _end(loops)
    finally:
        await _end(loops)
        await gateway.close()


async def _first_registration(gateway: Gateway, addresses: dict[str, str], stop: asyncio.Event) -> None:
    """Be in the register before any agent can name this gateway, however long the database takes."""
    while not stop.is_set():
        try:
            await gateway.say_started(addresses)
        except DatabaseAway as error:
            _log.warning("gateway_waits", reason=str(error))
            await wait_any([stop], 1.0)
        else:
            return


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Let loops finish what they are at, and cut short those that wait for longer."""
    running = [task for task in tasks if not task.done()]
    if running:
        await asyncio.wait(running, timeout=STOP_GRACE_S)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
