"""Raw samples from the nodes that keep them: asked for through their gateways, and put into one ZIP file.

Nothing of a request is kept: what a node does not give now, because it is away or has no such readings any more, is
told in `samples/missing.json`, and may be asked for again while the node keeps it. Nodes are read no faster than the
file is written, by HTTP/2's and TCP's own credit.
"""

import asyncio
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, BinaryIO

import structlog

from scheduler.tunnels.dial import GatewayAway, TunnelDialer, TunnelRefused
from scheduler.tunnels.frames import FrameError, FrameStream, Kind
from suanli.evidence.sampling import MISSING, RequestedSamples, encode_missing

NODES_AT_ONCE = 8
STRETCHES_A_TUNNEL = 256
ANSWER_TIMEOUT_S = 60.0
MOST_STRETCH_BYTES = 16 << 20
"""More than a window of five minutes holds at the shortest sampling period."""
MOST_PACKET_BYTES = 2 << 30
"""Of readings in one answer, before they are packed."""
TUNNEL_TIMEOUT_S = 900.0
MOST_REASON = 512
_HEAD_BYTES = 64
_MOST_INTEGER = 2**53
_EPOCH = (1980, 1, 1, 0, 0, 0)

_log = structlog.get_logger(__name__)

Places = Mapping[str, tuple[str, str | None]]
"""By node: its name, and the address of its gateway where it is connected."""


async def write_samples(
    dialer: TunnelDialer, places: Places, wanted: Sequence[RequestedSamples], target: BinaryIO
) -> None:
    """Write what the nodes have of a request to `target`, as a ZIP file of one file a segment."""
    by_node: dict[str, list[RequestedSamples]] = {}
    for asked in wanted:
        by_node.setdefault(asked.node_id, []).append(asked)
    missing: dict[str, str] = {}
    turns = asyncio.Semaphore(NODES_AT_ONCE)
    writing = asyncio.Lock()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        room = MOST_PACKET_BYTES

        def reserve(size: int) -> bool:
            nonlocal room
            room -= size
            return room >= 0

        async def keep(path: str, data: bytes) -> None:
            async with writing:  # in a thread: packing takes longer than other requests should wait
                await asyncio.to_thread(archive.writestr, _member(path), data)

        async def ask(node_id: str, stretches: Sequence[RequestedSamples]) -> None:
            async with turns:
                await _ask_node(dialer, places.get(node_id), stretches, reserve, keep, missing)

        async with asyncio.TaskGroup() as group:
            for node_id, all_of_it in by_node.items():
                for first in range(0, len(all_of_it), STRETCHES_A_TUNNEL):
                    group.create_task(ask(node_id, all_of_it[first : first + STRETCHES_A_TUNNEL]))
        if missing:
            told = {path: reason[:MOST_REASON] for path, reason in missing.items()}
            archive.writestr(_member(MISSING), encode_missing(told))


async def _ask_node(
    dialer: TunnelDialer,
    place: tuple[str, str | None] | None,
    stretches: Sequence[RequestedSamples],
    reserve: Callable[[int], bool],
    keep: Callable[[str, bytes], Awaitable[None]],
    missing: dict[str, str],
) -> None:
    left = {asked.path: asked for asked in stretches}

    def say(reason: str) -> None:
        missing.update(dict.fromkeys(left, reason))

    if place is None:
        say("no such node")
        return
    name, address = place
    if address is None:
        say(f"node {name} is not connected just now, or its gateway takes no tunnels: ask again")
        return
    target: dict[str, Any] = {
        "firm_id": "",
        "node_id": stretches[0].node_id,
        "allocation_id": "",
        "samples": [
            {
                "device_id": asked.device_id,
                "allocation_id": asked.allocation_id,
                "start_ms": asked.start_ms,
                "end_ms": asked.end_ms,
            }
            for asked in stretches
        ],
    }
    try:
        line = await dialer.open(address, target)
    except TunnelRefused as error:
        old = error.reason == "not_running"
        say(
            f"the agent of node {name} is older than this question" if old else f"node {name}: {error.detail}"
        )
        return
    except GatewayAway as error:
        _log.warning("gateway_away", reason=str(error))
        say(f"the gateway of node {name} cannot be reached: ask again")
        return
    answer = _Answer(line)
    try:
        async with asyncio.timeout(TUNNEL_TIMEOUT_S):
            for asked in stretches:
                size, kept_from_ms = await answer.head()
                if not reserve(size):
                    say(
                        f"an answer holds {MOST_PACKET_BYTES} bytes of readings at most: ask for fewer at once"
                    )
                    return
                if size:
                    await keep(asked.path, await answer.take(size))
                else:
                    since = (
                        f"it keeps readings from {kept_from_ms} ms on" if kept_from_ms else "it keeps none"
                    )
                    missing[asked.path] = f"node {name} has no such readings: {since}"
                del left[asked.path]
    except (OSError, FrameError, TimeoutError, ValueError) as error:
        _log.warning("raw_samples_broke", node=name, reason=str(error) or type(error).__name__)
        say(f"the connection to node {name} broke: ask again")
    finally:
        await line.close()


def _member(path: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(path, _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


class _Answer:
    """The bytes of a tunnel. Every wait is bounded: a node that says nothing is a node that is away."""

    def __init__(self, line: FrameStream) -> None:
        self._line = line
        self._left = bytearray()

    async def head(self) -> tuple[int, int]:
        """How many bytes follow, and since when the node keeps readings. Raises ValueError and what reading raises."""
        while b"\n" not in self._left:
            if len(self._left) > _HEAD_BYTES:
                raise ValueError("no line in which a length stands")
            await self._more()
        text, _, rest = bytes(self._left).partition(b"\n")
        self._left = bytearray(rest)
        size, kept_from_ms = (int(number) for number in text.split(b" "))
        if not 0 <= size <= MOST_STRETCH_BYTES:
            raise ValueError(f"{size} bytes of one stretch")
        if not 0 <= kept_from_ms < _MOST_INTEGER:
            raise ValueError("no time from which readings are kept")
        return size, kept_from_ms

    async def take(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._left) < size:
            await self._more()
        taken = bytes(self._left[:size])
        del self._left[:size]
        return taken

    async def _more(self) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            frame = await self._line.read()
        if frame is None or frame[0] is Kind.ENDED:
            raise FrameError("the answer ended early")
        if frame[0] is Kind.DATA:
            self._left += frame[1]
