"""Who is connected: kept in memory only, told to the controller in batches.

A node has at most one control stream on a gateway; a new one replaces the old one, because the agent knows
best which of its connections lives. Heartbeats end here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from protos.suanli.fleet.v1 import control_pb2
from scheduler.rpc.desired import Generation, desired_states, generations
from scheduler.rpc.metrics import CONNECTED_NODES
from scheduler.services.evidence import NodeKey, revoked_nodes
from scheduler.storage import inbox
from scheduler.storage.engine import Database, DatabaseAway

_log = structlog.get_logger(__name__)


def now_ms() -> int:
    """Our clock, milliseconds of UTC."""
    return time.time_ns() // 1_000_000


@dataclass(eq=False, slots=True)
class Connection:
    """One control stream."""

    key: NodeKey
    # The newest desired state that waits to be sent: an older one that was not sent yet is worth nothing.
    desired: control_pb2.Desired | None = None
    # What is said once, in order: whoever asked for it waits for the agent's answer elsewhere.
    orders: deque[control_pb2.ConnectResponse] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ended: str = ""  # why the stream is to end; empty while it shall live
    sent: Generation | None = None

    @property
    def node_id(self) -> str:
        """The node at the other end."""
        return self.key.node_id

    def offer(self, desired: control_pb2.Desired) -> None:
        """Send this desired state next, unless it or a later one was sent."""
        head = Generation(desired.leader_term, desired.generation)
        if self.sent is not None and head <= self.sent:
            return
        self.sent = head
        self.desired = desired
        self.wake.set()

    def order(self, message: control_pb2.ConnectResponse) -> None:
        """Send this once."""
        self.orders.append(message)
        self.wake.set()

    def end(self, why: str) -> None:
        """Let the stream end."""
        self.ended = self.ended or why
        self.wake.set()


class Connections:
    """All control streams of this gateway."""

    def __init__(self, database: Database, gateway_id: str) -> None:
        self._database = database
        self._gateway_id = gateway_id
        self._open: dict[str, Connection] = {}
        # Nodes whose stream ended, with the time of it, not yet told to the controller.
        self._gone: dict[str, int] = {}
        # Whoever tells the controller about a connection waits until told disconnections are committed:
        # the two facts about one node must not overtake each other.
        self._telling = asyncio.Lock()
        self.dirty: set[str] = set()
        self.poked = asyncio.Event()

    def node_ids(self) -> list[str]:
        """The nodes that are connected now."""
        return list(self._open)

    async def open(self, connection: Connection, body: dict[str, Any]) -> None:
        """Tell the controller that a node is connected, and take its stream in. Raises DatabaseAway."""
        async with self._telling:
            old = self._open.get(connection.node_id)
            async with self._database.transaction() as session:
                await inbox.put(session, "NodeConnected", body)
            self._gone.pop(connection.node_id, None)
            self._open[connection.node_id] = connection
        if old is not None:
            old.end("replaced by a newer connection of the same node")
        CONNECTED_NODES.set(len(self._open))
        self.poke(connection.node_id)

    def close(self, connection: Connection) -> None:
        """The stream ended; the controller is told with the next batch unless the node came back."""
        if self._open.get(connection.node_id) is connection:
            del self._open[connection.node_id]
            self._gone[connection.node_id] = now_ms()
            CONNECTED_NODES.set(len(self._open))
            self.poked.set()

    def poke(self, node_id: str) -> None:
        """Push the node's desired state soon; an empty id means all nodes."""
        self.dirty.update([node_id] if node_id else self._open)
        self.poked.set()

    def say(self, node_id: str, message: control_pb2.ConnectResponse) -> bool:
        """Send something once to a node that is connected now; False where it is not."""
        connection = self._open.get(node_id)
        if connection is None or connection.ended:
            return False
        connection.order(message)
        return True

    def end_all(self, why: str) -> None:
        """Let every stream end."""
        for connection in self._open.values():
            connection.end(why)

    async def tell_gone(self) -> int:
        """Tell the controller of the nodes that went, in one transaction; returns how many."""
        async with self._telling:
            gone = {node: at for node, at in self._gone.items() if node not in self._open}
            if not gone:
                return 0
            async with self._database.transaction() as session:
                for node_id, at_ms in gone.items():
                    body = {"node_id": node_id, "gateway_id": self._gateway_id, "at_ms": at_ms}
                    await inbox.put(session, "NodeDisconnected", body)
            for node_id in gone:
                self._gone.pop(node_id, None)
            return len(gone)

    async def push_dirty(self) -> None:
        """Read the desired states of poked nodes in one statement and offer them to their streams."""
        wanted = [node_id for node_id in self.dirty if node_id in self._open]
        self.dirty.clear()
        if not wanted:
            return
        try:
            async with self._database.read() as session:
                states = await desired_states(session, wanted)
        except BaseException:
            self.dirty.update(wanted)
            raise
        for node_id, desired in states.items():
            connection = self._open.get(node_id)
            if connection is not None:
                connection.offer(desired)

    async def look_again(self) -> None:
        """What pokes may have missed: newer generations, and keys revoked under a living stream."""
        connected = self.node_ids()
        if not connected:
            return
        async with self._database.read() as session:
            newest = await generations(session, connected)
            revoked = await revoked_nodes(session, connected)
        for node_id, head in newest.items():
            connection = self._open.get(node_id)
            if connection is not None and connection.sent != head:
                self.poke(node_id)
        for node_id in revoked:
            if node_id in self._open:
                self._open[node_id].end("the node's key was revoked")

    async def serve(self, stop: asyncio.Event, period_s: float) -> None:
        """Push and tell until `stop`; a database that is away only delays."""
        look_at_s = 0.0
        while not stop.is_set():
            steps: list[Callable[[], Awaitable[object]]] = [self.tell_gone, self.push_dirty]
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + period_s
                steps.insert(0, self.look_again)
            if not await self._run(steps):
                await wait_any([stop], 0.5)
                continue
            if not self.dirty:
                await wait_any([stop, self.poked], max(look_at_s - time.monotonic(), 0.01))
            self.poked.clear()

    async def _run(self, steps: Iterable[Callable[[], Awaitable[object]]]) -> bool:
        try:
            for step in steps:
                await step()
        except DatabaseAway as error:
            _log.warning("connections_wait", reason=str(error))
            return False
        return True


async def wait_any(events: Iterable[asyncio.Event], timeout_s: float) -> None:
    """Until one of the events is set or the time is over."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
