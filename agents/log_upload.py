"""Output of tasks on its way to the gateway: files are tailed, chunks are keyed by offset.

Bytes are bytes here: nothing looks into them. The files are the buffer: what the gateway has not said to
have stored is read again. One stream to the gateway carries all files; `poke` says that there is more.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from protos.suanli.fleet.v1 import logs_pb2, logs_pb2_grpc

CHUNK_BYTES = 65_536
IN_FLIGHT_BYTES = 1 << 20
GATHER_S = 0.01  # a chatty job is read at most this often
NO_PROGRESS_S = 5.0

REFUSALS = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}

Key = tuple[str, int, logs_pb2.LogStream]
_STREAMS = {logs_pb2.LOG_STREAM_STDOUT: "stdout", logs_pb2.LOG_STREAM_STDERR: "stderr"}
_log = logging.getLogger("agents.log_upload")


@dataclass
class Tail:
    """One file: `sent` and `stored` are offsets in the stream; `base` is where the file begins in it.

    `base` is not 0 only after a job truncated its own output.
    """

    path: Path
    base: int = 0
    sent: int = 0
    stored: int | None = None  # None: the gateway has not been asked yet
    asked: bool = False
    ended: bool = False  # the file will not grow any more
    complete_sent: bool = False
    complete: bool = False
    progressed_s: float = 0.0

    def restart(self) -> None:
        """A new stream to the gateway: ask again where to go on."""
        self.stored, self.asked, self.complete_sent = None, False, False


@dataclass
class Followed:
    """All files of one task."""

    tails: dict[Key, Tail]
    ended: bool = False

    @property
    def complete(self) -> bool:
        """True when the gateway has everything."""
        return self.ended and all(tail.complete for tail in self.tails.values())


@dataclass
class LogUpload:
    """The files that are followed, and the stream that carries them."""

    delivered: Callable[[str], None] = lambda _allocation_id: None
    _followed: dict[str, Followed] = field(default_factory=dict)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _unanswered: deque[str] = field(default_factory=deque)  # allocation of each request, answered in order
    bytes_sent: int = 0

    def follow(self, allocation_id: str, output: Path, processes: int) -> None:
        """Follow the output files of a task, which may not be there yet."""
        if allocation_id not in self._followed:
            tails = {
                (allocation_id, rank, stream): Tail(output / f"{rank}.{name}")
                for rank in range(processes)
                for stream, name in _STREAMS.items()
            }
            self._followed[allocation_id] = Followed(tails)
        self._more.set()

    def follows(self, allocation_id: str) -> bool:
        """True while not everything of the task is delivered."""
        return allocation_id in self._followed

    def delivered_all(self) -> bool:
        """True when nothing of an ended task is still to be sent."""
        return not any(followed.ended for followed in self._followed.values())

    def ended(self, allocation_id: str) -> None:
        """The task's files do not grow any more."""
        followed = self._followed.get(allocation_id)
        if followed is not None:
            followed.ended = True
            for tail in followed.tails.values():
                tail.ended = True
            self._more.set()

    def poke(self, allocation_id: str) -> None:
        """There may be more in this task's files."""
        if allocation_id in self._followed:
            self._more.set()

    def poke_all(self) -> None:
        """There may be more anywhere."""
        if self._followed:
            self._more.set()

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Carry until the stream breaks. Raises grpc.aio.AioRpcError."""
        for followed in self._followed.values():
            for tail in followed.tails.values():
                tail.restart()
        self._unanswered.clear()
        more = self._more = asyncio.Event()
        more.set()
        stub = logs_pb2_grpc.LogServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Append(self._requests(more))
        try:
            async for answer in call:
                if self._unanswered:
                    self._unanswered.popleft()
                self._answered(answer)
        except grpc.aio.AioRpcError as error:
            if error.code() in REFUSALS and self._unanswered:
                self._give_up(self._unanswered[0], error.details() or "")
            raise
        finally:
            call.cancel()
            # grpc goes on asking for requests of a call that broke: they must not be taken from the next one.
            self._more = asyncio.Event()
            more.set()

    def _give_up(self, allocation_id: str, why: str) -> None:
        """The gateway will never take this task's output: it must not hold up that of others."""
        _log.warning("output of task %s is not delivered: %s", allocation_id, why)
        if self._followed.pop(allocation_id, None) is not None:
            self.delivered(allocation_id)

    async def _requests(self, more: asyncio.Event) -> AsyncIterator[logs_pb2.AppendRequest]:
        """For as long as the stream of this event is the one that carries."""
        while True:
            await more.wait()
            more.clear()
            found = True
            while found:
                found = False
                for key, tail in self._tails():
                    if more is not self._more:
                        return
                    request = self._next(key, tail)
                    if request is not None:
                        found = True
                        self._unanswered.append(key[0])
                        yield request
            if more is not self._more:
                return
            await asyncio.sleep(GATHER_S)

    def _tails(self) -> list[tuple[Key, Tail]]:
        return [
            item
            for followed in self._followed.values()
            for item in followed.tails.items()
            if not item[1].complete
        ]

    def _next(self, key: Key, tail: Tail) -> logs_pb2.AppendRequest | None:
        allocation_id, local_rank, stream = key

        def request(data: bytes, complete: bool) -> logs_pb2.AppendRequest:
            return logs_pb2.AppendRequest(
                allocation_id=allocation_id,
                local_rank=local_rank,
                stream=stream,
                offset=tail.sent,
                data=data,
                complete=complete,
            )

        if tail.stored is None:
            if tail.asked:
                return None
            tail.asked = True
            tail.sent = 0
            return request(b"", complete=False)
        now_s = asyncio.get_running_loop().time()
        if tail.sent > tail.stored and now_s - tail.progressed_s > NO_PROGRESS_S:
            tail.sent, tail.complete_sent, tail.progressed_s = tail.stored, False, now_s
        if tail.complete_sent or tail.sent - tail.stored >= IN_FLIGHT_BYTES:
            return None
        data, at_end = self._read(tail)
        complete = tail.ended and at_end
        if not data and not complete:
            return None
        message = request(data, complete)
        if tail.sent == tail.stored:
            tail.progressed_s = now_s
        tail.sent += len(data)
        tail.complete_sent = complete
        self.bytes_sent += len(data)
        return message

    def _read(self, tail: Tail) -> tuple[bytes, bool]:
        """Bytes at the offset to send next, and whether the file ends behind them."""
        try:
            descriptor = os.open(tail.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return b"", True
        try:
            size = os.fstat(descriptor).st_size
            if tail.base + size < tail.sent:  # the job truncated its output: what is there now comes after
                tail.base = tail.sent
            data = os.pread(descriptor, CHUNK_BYTES, tail.sent - tail.base)
        finally:
            os.close(descriptor)
        return data, tail.sent + len(data) >= tail.base + size

    def _answered(self, answer: logs_pb2.AppendResponse) -> None:
        followed = self._followed.get(answer.allocation_id)
        tail = (
            followed.tails.get((answer.allocation_id, answer.local_rank, answer.stream)) if followed else None
        )
        if followed is None or tail is None:
            return
        if tail.stored is None:
            tail.sent = answer.stored
        if tail.stored is None or answer.stored > tail.stored:
            tail.progressed_s = asyncio.get_running_loop().time()
        tail.stored = answer.stored
        tail.complete = tail.complete_sent and tail.stored >= tail.sent
        if followed.complete:
            del self._followed[answer.allocation_id]
            self.delivered(answer.allocation_id)
        self._more.set()
