"""The agent put together: machine, tasks, metering and the streams, and how it starts and ends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from agents import wire
from agents.content import Content
from agents.core.machine import AgentMachine
from agents.core.messages import DesiredArrived, Message, Report
from agents.core.readings import Health, Holding
from agents.core.tasks import Phase
from agents.devices.enrolled import EnrolledDevices
from agents.exporter import Metric, serve
from agents.launcher import Launcher
from agents.link import Backoff, ControlLink, FleetChannel, NowAndThen, keep_up
from agents.log_upload import LogUpload
from agents.metering import Absence, Metering
from agents.node_metrics import NodeFigures, node_metrics
from agents.node_record import Identity, NodeRecord
from agents.refusals import SpoolFull
from agents.renewal import Renewal
from agents.results import Results
from agents.runtime import proc_tree
from agents.runtime.containers import Containers
from agents.runtime.isolation import Isolation
from agents.runtime.prepare import Preparer
from agents.samples import SampleFiles
from agents.settings import AGENT_VERSION, PROTOCOL, UNDERSTANDS, Settings
from agents.signing import Sealer
from agents.spool import Spool
from agents.state_folder import StateFolder
from agents.tasks import TaskRunner
from agents.tunnels import Tunnels
from agents.usage_upload import UsageUpload
from protos.suanli.fleet.v1 import control_pb2, node_pb2, tunnel_pb2
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import SigningKey
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.signed_note import parse_note
from suanli.evidence.windows import SeenCheckpoint

LOOK_PERIOD_S = 1.0
FLUSH_PATIENCE_S = 3.0

_log = logging.getLogger("agents.node")
_Answer = TypeVar("_Answer")


@dataclass
class Counters:
    """Totals since start, for operators."""

    desired_obeyed: int = 0
    desired_refused: int = 0
    tasks_ended: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Abilities:
    """What this host can do for tasks: keep firms apart, and run containers (None: it runs none)."""

    isolation: Isolation
    containers: Containers | None


def _preparer(
    settings: Settings,
    state: StateFolder,
    record: NodeRecord,
    driver: EnrolledDevices,
    abilities: Abilities,
) -> Preparer:
    return Preparer(
        state.tasks,
        settings.checkpoint_root or state.path / "model_checkpoints",
        max((d.index for d in record.devices), default=-1) + 1,
        settings.rendezvous_address,
        abilities.isolation,
        driver.closed_nodes,
        settings.volume_roots,
        abilities.containers.images if abilities.containers else None,
    )


def _sealer(settings: Settings, record: NodeRecord, driver: EnrolledDevices, key: SigningKey) -> Sealer:
    return Sealer(
        node_id=record.node_id,
        agent_version=AGENT_VERSION,
        driver=driver.name,
        simulated=driver.simulated,
        window_ms=record.window_ms,
        sample_ms=settings.sample_ms,
        devices={device.index: driver.identity_now(device) for device in record.devices},
        key=key,
    )


class Agent:
    """One node's agent. Everything runs in one event loop; what may block runs in threads."""

    def __init__(
        self,
        settings: Settings,
        state: StateFolder,
        spool: Spool,
        identity: Identity,
        driver: EnrolledDevices,
        channel: FleetChannel,
        abilities: Abilities,
        enrol_again: Callable[[], Awaitable[bytes]],
    ) -> None:
        record, key = identity.record, identity.key
        self._settings = settings
        self._state = state
        self._spool = spool
        self._record = record
        self._driver = driver
        self._channel = channel
        self._isolation = abilities.isolation
        self._containers = containers = abilities.containers
        self._boot_id = proc_tree.boot_id()
        self._started_ms = time.time_ns() // 1_000_000
        self._saying = NowAndThen(_log)
        self._swept = False
        self._backoffs: list[Backoff] = []
        self.counters = Counters()
        self.machine = AgentMachine(spool.fence(), spool.launched())
        self.logs = LogUpload()
        self.link = ControlLink(channel, self)
        self.renewal = Renewal(
            state,
            key,
            record.node_id,
            ask=self.link.renew,
            enrol_again=enrol_again,
            renewed=channel.certify,
        )
        self.usage = UsageUpload(spool, self.seen_checkpoint)
        self.content = Content(channel.another)
        self.results = Results(self.content)
        self.tasks = TaskRunner(
            state.tasks,
            _preparer(settings, state, record, driver, abilities),
            Launcher(driver, settings.sample_ms, containers.runtime if containers else None),
            spool,
            self.logs,
            self.results,
            self.content,
            fetch=self.link.fetch,
            tell=self.tell,
            now_ms=lambda: self.metering.now_ms,
        )
        self.samples = SampleFiles(state.samples, settings.samples_days, settings.samples_gib << 30)
        self.tunnels = Tunnels(channel.another, self.tasks.live.get, self.samples, settings.attach_idle_s)
        self.metering = Metering(
            _sealer(settings, record, driver, key),
            driver,
            spool,
            self.tasks,
            self.samples,
            boot_id=self._boot_id,
            metering_from_ms=record.metering_from_ms,
            new_window=self.usage.poke,
        )

    # --- messages and instructions ---------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        """One message into the machine, and what it asks for out of it.

        Time up to now is accounted for under the holdings that were in force; then they may change.
        """
        if isinstance(message, DesiredArrived) and not self._obey(message):
            return
        before = self.machine.bindings()
        ended_before = {t.allocation_id for t in self.machine.tasks.values() if t.phase is Phase.ENDED}
        instructions = self.machine.handle(message)
        after = self.machine.bindings()
        if before != after:
            self.metering.settle()
            self.metering.hold(self._holdings())
        for task in self.machine.tasks.values():
            if task.phase is Phase.ENDED and task.allocation_id not in ended_before:
                reason = str(task.end_reason)
                self.counters.tasks_ended[reason] = self.counters.tasks_ended.get(reason, 0) + 1
                _log.info("task %s ended: %s, exit code %s", task.allocation_id, reason, task.exit_code)
        for instruction in instructions:
            if isinstance(instruction, Report):
                self.link.report()
            else:
                self.tasks.carry_out(instruction)

    def _obey(self, message: DesiredArrived) -> bool:
        if not self.machine.would_obey(message.fence):
            self.counters.desired_refused += 1
            _log.warning("refused a desired state of %s: %s was obeyed", message.fence, self.machine.fence)
            return False
        if message.fence > self.machine.fence:
            try:
                self._spool.obey(message.fence)
            except SpoolFull as error:
                self._saying.say(f"desired states are not obeyed: {error}")
                return False
        self.counters.desired_obeyed += 1
        return True

    def _holdings(self) -> list[Holding]:
        held = [task for task in self.machine.tasks.values() if task.holds_devices]
        return [self.tasks.live[task.allocation_id].holding for task in held]

    # --- what the control stream asks ------------------------------------------------------------------

    def hello(self) -> control_pb2.Hello:
        """Who we are and what we obey."""
        return control_pb2.Hello(
            protocol_min=PROTOCOL,
            protocol_max=PROTOCOL,
            agent_version=AGENT_VERSION,
            node_id=self._record.node_id,
            boot_id=self._boot_id,
            agent_started_ms=self._started_ms,
            leader_term=self.machine.fence.leader_term,
            generation=self.machine.fence.generation,
            devices=[self._claims(device.index) for device in self._record.devices],
            isolation=wire.ISOLATIONS[self.tasks.isolation()],
            rendezvous_address=self._settings.rendezvous_address,
            place=control_pb2.Place(**asdict(self._settings.place)),
            container_engine=str(self._containers or ""),
            understands=UNDERSTANDS,
            one_firm=self._isolation.one_firm,
            one_firm_id=self._isolation.firm_served(),
        )

    def _claims(self, index: int) -> node_pb2.DeviceClaims:
        identity = next(d for d in self._record.devices if d.index == index)
        now = self._driver.device_now(index)
        return node_pb2.DeviceClaims(
            vendor=identity.vendor,
            model=identity.model,
            index=identity.index,
            serial=identity.serial,
            uuid=identity.uuid,
            bus_address=identity.bus_address,
            driver=identity.driver,
            driver_version=identity.driver_version,
            simulated=identity.simulated,
            memory_bytes=now.memory_bytes if now else 0,
            fast_link_group=now.fast_link_group if now else 0,
            health=wire.HEALTHS[self.metering.health().get(index, Health.OK)],
            device_id=identity.device_id,
            die_id=identity.die_id,
            firmware=identity.firmware,
        )

    def observed(self) -> control_pb2.Observed:
        """The node as it is. Raises SpoolFull."""
        unhealthy = [i for i, health in self.metering.health().items() if health is not Health.OK]
        return control_pb2.Observed(
            leader_term=self.machine.fence.leader_term,
            generation=self.machine.fence.generation,
            report_seq=self._spool.next_report_seq(),
            tasks=[wire.observed_task(task) for task in self.machine.tasks.values()],
            unhealthy_devices=[self._claims(index) for index in unhealthy],
        )

    def desired(self, message: DesiredArrived) -> None:
        """A desired state arrived."""
        self.tell(message)
        if not self._swept:
            self._swept = True
            self.tasks.sweep(self.machine.tasks)

    def seen_checkpoint(self, note: bytes) -> None:
        """The newest log checkpoint goes into the next window; its signature is the verifier's business."""
        try:
            head = parse_log_checkpoint(parse_note(note).text)
        except EvidenceError as error:
            self._saying.say(f"a log checkpoint was not understood: {error}")
        else:
            self.metering.see(SeenCheckpoint(head.origin, head.size, head.root.hex()))

    def open_tunnel(self, order: tunnel_pb2.OpenTunnel) -> None:
        """A tunnel into a task is asked for."""
        self.tunnels.open(order)

    def greeted(self) -> None:
        """The gateway answered: other streams need not wait."""
        for backoff in self._backoffs:
            backoff.hurry()

    # --- life ------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """From adoption to the last window. Raises AgentError where it cannot go on."""
        adopted = self.tasks.adopt()
        await self.metering.first_sample()
        self.metering.recover([Absence(live.holding, live.use) for live in adopted if live.use is not None])
        self.tasks.resume(adopted)
        settings = self._settings
        server = None
        if settings.metrics:
            server = await serve(settings.metrics, self.metrics, settings.metrics_token)
        metering = asyncio.create_task(self.metering.run(), name="metering")
        streams = [
            self._stream("control stream", self.link.run),
            self._stream("usage stream", lambda: self.usage.run(self._channel.now)),
            self._stream("log stream", lambda: self.logs.run(self._channel.now)),
        ]
        looking = asyncio.create_task(self._look(), name="look")
        renewing = asyncio.create_task(self.renewal.run(), name="renewal")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        running = {metering, looking, renewing, stopping, *streams}
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            metering.cancel()
            looking.cancel()
            renewing.cancel()
            stopping.cancel()
            await self.tunnels.close()
            await self.tasks.close(self._settings.stop_tasks_on_exit)
            await self._last_words(streams)
            await self.results.close()
            await self.content.close()
            if server is not None:
                server.close()
            await asyncio.gather(*running, return_exceptions=True)

    def _stream(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        backoff = Backoff()
        self._backoffs.append(backoff)
        return asyncio.create_task(keep_up(name, run, backoff), name=name)

    async def _last_words(self, streams: Iterable[asyncio.Task[None]]) -> None:
        """Close the window, and give what waits a moment to leave."""
        self.metering.stop()
        self.usage.poke()
        self.link.report()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_PATIENCE_S if self.link.connected else 0):
                while not (self.usage.delivered() and self.logs.delivered_all()):
                    await asyncio.sleep(0.02)
        for stream in streams:
            stream.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            self.tasks.look()

    def metrics(self) -> list[Metric]:
        """For the exporter."""
        return node_metrics(
            NodeFigures(
                connected=self.link.connected,
                tasks=tuple(task.phase for task in self.machine.tasks.values()),
                tasks_ended=self.counters.tasks_ended,
                samples=self.metering.samples,
                utilisation_ppm=self.metering.utilisation_ppm,
                windows_waiting=self._spool.count(),
                windows_acknowledged=self.usage.acknowledged,
                samples_taken=self.metering.samples_taken,
                log_bytes=self.logs.bytes_sent,
                desired_obeyed=self.counters.desired_obeyed,
                desired_refused=self.counters.desired_refused,
            )
        )
