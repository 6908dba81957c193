"""Tunnels on the agent's side: from the gateway's stream to a port of a task or a terminal in it.

Nothing of this exists until the first tunnel is asked for; then one more channel to the gateway, so that a
researcher's bytes wait neither for windows nor windows for them.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

from agents.live_task import Live
from agents.runtime import proc_tree, process
from agents.runtime.listeners import listening_address
from agents.samples import SampleFiles
from agents.terminals import NoTerminal, Terminal, TerminalOrder, start_terminal
from protos.suanli.fleet.v1 import tunnel_pb2, tunnel_pb2_grpc

DATA_BYTES = 65_536
CONNECT_TIMEOUT_S = 3.0
LEAVE_TIMEOUT_S = 5.0
MOST_TUNNELS = 1024
MOST_STRETCHES = 256
DEFAULT_IDLE_S = 3600.0

_log = logging.getLogger("agents.tunnels")


class NotReached(Exception):
    """The target cannot be reached: a reason of the closed list, and a sentence for the researcher."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Target(Protocol):
    """What a tunnel leads to."""

    async def read(self) -> bytes:
        """Bytes from the task; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Bytes to the task. Raises OSError."""
        ...

    async def finish(self) -> None:
        """Nothing more comes for the task."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        ...

    async def exit_code(self) -> int | None:
        """Exit code of the terminal's process; None for a port."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Port:
    """A connection to a listener of the task."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Bytes from the task; empty at the end."""
        return await self._reader.read(DATA_BYTES)

    async def write(self, data: bytes) -> None:
        """Bytes to the task, as fast as it takes them. Raises OSError."""
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self) -> None:
        """Shut the sending side down."""
        with suppress(OSError):
            self._writer.write_eof()

    def resize(self, columns: int, rows: int) -> None:
        """A port has no size."""

    async def exit_code(self) -> int | None:
        """A port has no exit code."""
        return None

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass
class Activity:
    """When something went through a tunnel last."""

    at_s: float

    def seen(self) -> None:
        """Something went through."""
        self.at_s = time.monotonic()


class Tunnels:
    """All tunnels of this node."""

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        find: Callable[[str], Live | None],
        samples: SampleFiles,
        idle_s: float = DEFAULT_IDLE_S,
    ) -> None:
        self._open_channel = open_channel
        self._find = find
        self._samples = samples
        self._idle_s = idle_s
        self._channel: grpc.aio.Channel | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Tunnels that are open."""
        return len(self._open)

    def open(self, order: tunnel_pb2.OpenTunnel) -> None:
        """Call the gateway back, and carry until either side ends it."""
        if len(self._open) >= MOST_TUNNELS:
            _log.warning("a tunnel was asked for, and %d are open already", MOST_TUNNELS)
            return
        task = asyncio.create_task(self._run(order), name=f"tunnel {order.tunnel_id}")
        self._open.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a tunnel failed: %s", error, exc_info=error)

    async def close(self) -> None:
        """End all of them."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    async def _run(self, order: tunnel_pb2.OpenTunnel) -> None:
        if self._channel is None:
            self._channel = self._open_channel()
        stub = tunnel_pb2_grpc.TunnelServiceStub(self._channel)  # type: ignore[no-untyped-call]
        call = stub.Carry()
        try:
            await call.write(tunnel_pb2.CarryRequest(tunnel_id=order.tunnel_id))
            await self._carry(order, call)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            _log.info("tunnel %s broke: %s", order.tunnel_id, error)
        finally:
            call.cancel()

    async def _give_samples(self, wanted: tunnel_pb2.RawSamples, call: Any) -> None:
        """Raw samples as fast as the other side takes them; reading files must not hold up the agent."""
        await call.write(tunnel_pb2.CarryRequest(opened=tunnel_pb2.TunnelOpened()))
        for asked in list(wanted.stretches)[:MOST_STRETCHES]:
            lines = await asyncio.to_thread(
                self._samples.read, asked.device_id, asked.allocation_id, asked.start_ms, asked.end_ms
            )
            text = b"".join(line + b"\n" for line in lines)
            since_ms = await asyncio.to_thread(self._samples.kept_from_ms)
            answer = b"%d %d\n" % (len(text), since_ms) + text
            for begin in range(0, len(answer), DATA_BYTES):
                await call.write(tunnel_pb2.CarryRequest(data=answer[begin : begin + DATA_BYTES]))
        await call.write(tunnel_pb2.CarryRequest(ended=tunnel_pb2.TunnelEnded(reason="closed")))
        await call.done_writing()
        await _until_left(call)

    async def _carry(self, order: tunnel_pb2.OpenTunnel, call: Any) -> None:
        if order.WhichOneof("target") == "samples":
            await self._give_samples(order.samples, call)
            return
        live = self._find(order.allocation_id)
        refused = tunnel_pb2.TunnelEnded(reason="not_running", detail="the task does not run on this node")
        target = None
        if live is not None and live.pidfd is not None:
            try:
                target = await reach(live, order)
            except NotReached as error:
                refused = tunnel_pb2.TunnelEnded(reason=error.reason, detail=str(error))
            except OSError as error:
                detail = f"the node cannot reach the task: {error.strerror or error}"
                refused = tunnel_pb2.TunnelEnded(reason="failed", detail=detail)
        if live is None or target is None:
            await call.write(tunnel_pb2.CarryRequest(ended=refused))
            await call.done_writing()
            await _until_left(call)
            return
        try:
            await call.write(tunnel_pb2.CarryRequest(opened=tunnel_pb2.TunnelOpened()))
            await self._pass_on(live, order, target, call)
        finally:
            target.close()

    async def _pass_on(self, live: Live, order: tunnel_pb2.OpenTunnel, target: Target, call: Any) -> None:
        activity = Activity(time.monotonic())
        finished = asyncio.Event()
        told = False
        up = asyncio.create_task(from_task(target, call, activity))
        watched: dict[str, asyncio.Task[Any]] = {
            "up": up,
            "down": asyncio.create_task(to_task(target, call, activity, finished)),
            "finished": asyncio.create_task(finished.wait()),
            "over": asyncio.create_task(live.over.wait()),
        }
        if order.WhichOneof("target") == "terminal":
            watched["idle"] = asyncio.create_task(_idle(activity, self._idle_s))
        try:
            while (ended := self._verdict(watched)) is None:
                waiting = [task for task in watched.values() if not task.done()]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if up.done() and not told and "idle" not in watched:
                    told = True
                    await call.write(tunnel_pb2.CarryRequest(finished=tunnel_pb2.TunnelFinished()))
            if (
                ended.reason == "exited"
                and not ended.detail
                and (code := await target.exit_code()) is not None
            ):
                ended.exit_code = code
            target.close()
            await call.write(tunnel_pb2.CarryRequest(ended=ended))
            await call.done_writing()
            # A reader that is cancelled cancels the call, and the last word with it.
            await asyncio.wait({watched["down"]}, timeout=LEAVE_TIMEOUT_S)
        finally:
            for task in watched.values():
                task.cancel()
            await asyncio.gather(*watched.values(), return_exceptions=True)

    def _verdict(self, watched: dict[str, asyncio.Task[Any]]) -> tunnel_pb2.TunnelEnded | None:
        """Whether the tunnel is over, and why. Raises what a direction failed with beside OSError."""
        terminal = "idle" in watched
        for name in ("up", "down"):
            if watched[name].done() and (error := watched[name].exception()) is not None:
                if not isinstance(error, OSError):
                    raise error
                return tunnel_pb2.TunnelEnded(reason="closed", detail=error.strerror or str(error))
        if terminal and watched["up"].done():
            return tunnel_pb2.TunnelEnded(reason="exited")
        if watched["over"].done():
            return tunnel_pb2.TunnelEnded(reason="exited", detail="the task has ended")
        if terminal and watched["idle"].done():
            detail = f"nothing went through the terminal for {self._idle_s:.0f} seconds"
            return tunnel_pb2.TunnelEnded(reason="idle", detail=detail)
        if watched["up"].done() and watched["finished"].done():
            return tunnel_pb2.TunnelEnded(reason="closed")
        return None


async def from_task(target: Target, call: Any, activity: Activity) -> None:
    """Until the task sends no more. A stream that is not read stops us here, and thereby the task."""
    while data := await target.read():
        activity.seen()
        await call.write(tunnel_pb2.CarryRequest(data=data))


async def to_task(target: Target, call: Any, activity: Activity, finished: asyncio.Event) -> None:
    """Until the other side leaves, which ends the tunnel: ConnectionResetError."""
    async for message in call:
        activity.seen()
        kind = message.WhichOneof("message")
        if kind == "data":
            await target.write(message.data)
        elif kind == "size":
            target.resize(message.size.columns, message.size.rows)
        elif kind == "finished":
            await target.finish()
            finished.set()
    raise ConnectionResetError("the other side has left")


async def _until_left(call: Any) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_TIMEOUT_S):
            async for _ in call:
                pass


async def _idle(activity: Activity, idle_s: float) -> None:
    while (left_s := activity.at_s + idle_s - time.monotonic()) > 0:
        await asyncio.sleep(left_s)


async def reach(live: Live, order: tunnel_pb2.OpenTunnel) -> Target:
    """The target of an order. Raises NotReached, OSError."""
    if order.WhichOneof("target") == "terminal":
        wanted = order.terminal
        terminal = TerminalOrder(
            order.tunnel_id,
            wanted.local_rank,
            tuple(wanted.command),
            wanted.kind,
            wanted.size.columns,
            wanted.size.rows,
        )
        try:
            started: Terminal = await start_terminal(live, terminal)
        except NoTerminal as error:
            raise NotReached("no_terminal", str(error)) from None
        return started
    return await _connect(live, order.port)


async def _connect(live: Live, port: int) -> Port:
    """Connect to the task's own listener. Raises NotReached, OSError."""
    address = await asyncio.to_thread(_own_listener, live, port)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        raise NotReached("no_listener", f"the task's listener on port {port} does not answer") from None
    except ConnectionRefusedError:
        raise _nobody(port) from None
    try:
        # Once more: the listener must not have been another's by the time we were let in.
        await asyncio.to_thread(_own_listener, live, port)
    except NotReached:
        writer.close()
        raise
    return Port(reader, writer)


def _own_listener(live: Live, port: int) -> str:
    state = live.state
    if state is None or not process.shim_lives(state):
        raise NotReached("not_running", "the task has ended")
    tree = proc_tree.descendants(proc_tree.scan(), state["shim_pid"])
    address = listening_address((stat.pid for stat in tree), port)
    if address is None:
        raise _nobody(port)
    return address


def _nobody(port: int) -> NotReached:
    return NotReached("no_listener", f"no process of the task listens on port {port} (yet)")
