"""Output of a job from its files: what is new since the last look, as text, by the time when it came.

Blocking file work; the stream calls it in a thread.
"""

import codecs
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from scheduler.domain.gangs import Gang
from scheduler.domain.time import to_rfc3339
from scheduler.services.jobs import LogPlan
from scheduler.storage.job_logs import STREAMS, JobLogs, LogKey

CHUNK_BYTES = 64 * 1024
MOST_TAIL_BYTES = 1 << 20
# Of one look.
MOST_BYTES = 1 << 20
MOST_RECORDS = 1_000
# Pieces whose times are kept, of all streams together, so that a gang of thousands fits into little memory.
MOST_AHEAD = 8_192


@dataclass(frozen=True, slots=True)
class OutputFilter:
    """Which streams are asked for; None: all. `rank` is the process rank."""

    attempt: int | None = None
    rank: int | None = None
    stream: str | None = None

    def wants(self, key: LogKey, gang: Gang) -> bool:
        """Whether a stream is asked for."""
        return (
            self.attempt in (None, key.attempt)
            and self.rank in (None, gang.first_process(key.rank) + key.local_rank)
            and self.stream in (None, key.stream)
        )


@dataclass(frozen=True, slots=True)
class Begin:
    """Where streams are read from: behind what was seen (by attempt, process rank and stream), else the last
    `tail` lines of what came since `since_ms`, else the beginning."""

    seen: Mapping[tuple[int, int, str], int] = field(default_factory=dict)
    tail: int | None = None
    since_ms: int | None = None

    def offset(self, logs: JobLogs, key: LogKey, gang: Gang) -> int:
        """The first byte to read of a stream."""
        rank = gang.first_process(key.rank) + key.local_rank
        seen = self.seen.get((key.attempt, rank, key.stream))
        if seen is not None:
            return seen
        last = 0 if self.tail is None else tail_offset(logs, key, self.tail)
        return last if self.since_ms is None else max(last, logs.since(key, self.since_ms))


def tail_offset(logs: JobLogs, key: LogKey, lines: int) -> int:
    """Where the last `lines` lines of a stream begin now; looks at its last MiB and no further."""
    size = logs.stored(key)
    first = max(0, size - MOST_TAIL_BYTES)
    data = logs.read(key, first, size - first)
    position = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        position = data.rfind(b"\n", 0, max(position, 0))
        if position < 0:
            return first
    return first + (len(data) if lines == 0 else position + 1)


@dataclass(slots=True)
class _Open:
    """How far a stream has been read, and what a look has found behind that.

    Characters may be cut between two reads: the decoder keeps the rest.
    """

    offset: int = 0
    complete: bool = False
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    size: int = 0  # of the stream when it was looked at
    whole: bool = False  # nothing will follow behind that
    ahead: deque[tuple[int, int]] = field(
        default_factory=deque
    )  # (end, when it came) of the pieces that follow
    came_ms: int = 0

    def place(self) -> int:
        """Of the first byte that has not become text."""
        return self.offset - len(self.decoder.getstate()[0])


class JobOutput:
    """Reads the streams of one job again and again.

    A look costs a question or two to the file system for each stream, and one read for each piece of text that
    another stream's follows.
    """

    def __init__(self, logs: JobLogs, wanted: OutputFilter, begin: Begin | None = None) -> None:
        self._logs = logs
        self._wanted = wanted
        self._begin = begin or Begin()
        self._open: dict[LogKey, _Open] = {}

    def records(self, plan: LogPlan, attempts: Iterable[int]) -> list[Mapping[str, Any]]:
        """What is new, up to about a MiB: attempt by attempt, and within one by the time when it came."""
        result: list[Mapping[str, Any]] = []
        gang = plan.gang
        grown = list(self._grown(plan, attempts))
        most_ahead = max(4, MOST_AHEAD // max(len(grown), 1))
        heap: list[tuple[int, int, LogKey]] = []

        def enqueue(key: LogKey) -> None:
            state = self._open[key]
            if not state.ahead and state.offset < state.size:
                state.ahead.extend(self._logs.arrivals(key, state.offset, state.size, most_ahead))
            if state.ahead:
                heappush(heap, (key.attempt, state.ahead[0][1], key))

        for key in grown:
            enqueue(key)
            self._finish(key, gang, result)
        read = 0
        while heap and len(result) < MOST_RECORDS and read < MOST_BYTES:
            _, _, key = heappop(heap)
            state = self._open[key]
            data = self._logs.read(key, state.offset, CHUNK_BYTES)
            if not data:
                continue  # removed meanwhile
            read += len(data)
            self._take(key, gang, data, heap[0] if heap else None, result)
            self._finish(key, gang, result)
            enqueue(key)
        return result

    def _grown(self, plan: LogPlan, attempts: Iterable[int]) -> Iterator[LogKey]:
        """Streams that have grown, or ended, since they were read."""
        for attempt in attempts:
            for key in self._logs.streams(plan.firm_id, plan.job_id, attempt):
                if not self._wanted.wants(key, plan.gang):
                    continue
                state = self._open.get(key)
                if state is None:
                    state = self._open[key] = _Open(self._begin.offset(self._logs, key, plan.gang))
                if state.complete:
                    continue
                # Asked before the size: bytes that come after the answer are found by the next look.
                state.whole = self._logs.is_complete(key)
                state.size = self._logs.stored(key)
                state.ahead.clear()
                if state.whole or state.offset < state.size:
                    yield key

    def _take(
        self,
        key: LogKey,
        gang: Gang,
        data: bytes,
        until: tuple[int, int, LogKey] | None,
        result: list[Mapping[str, Any]],
    ) -> None:
        """Text of the pieces that begin `data` and come before another stream's."""
        state = self._open[key]
        first = state.offset
        while state.ahead and state.offset < first + len(data):
            end, came_ms = state.ahead[0]
            if until is not None and (key.attempt, came_ms, key) > until:
                return
            begin, place = state.offset, state.place()
            state.offset = min(end, first + len(data))
            state.came_ms = came_ms
            if state.offset == end:
                state.ahead.popleft()
            text = state.decoder.decode(data[begin - first : state.offset - first])
            if text:
                result.append(_record(key, gang, state, place, text))

    def _finish(self, key: LogKey, gang: Gang, result: list[Mapping[str, Any]]) -> None:
        """Close a stream that has been read to its end."""
        state = self._open[key]
        if state.whole and state.offset >= state.size:
            place = state.place()
            rest = state.decoder.decode(b"", True)
            state.complete = True
            if rest:
                result.append(_record(key, gang, state, place, rest))

    def missing(self, plan: LogPlan, attempts: Iterable[int]) -> list[LogKey]:
        """Streams that are still to come, or to be completed, of tasks that have run."""
        chosen = set(attempts)
        return [
            key
            for key in self._expected(plan)
            if key.attempt in chosen and not (key in self._open and self._open[key].complete)
        ]

    def _expected(self, plan: LogPlan) -> Iterator[LogKey]:
        for attempt, rank, processes, has_output in plan.tasks:
            for local_rank in range(processes if has_output else 0):
                for stream in STREAMS:
                    key = LogKey(plan.firm_id, plan.job_id, attempt, rank, local_rank, stream)
                    if self._wanted.wants(key, plan.gang):
                        yield key

    @property
    def streams(self) -> int:
        """How many streams are being read."""
        return sum(not state.complete for state in self._open.values())


def _record(key: LogKey, gang: Gang, state: _Open, begin: int, text: str) -> Mapping[str, Any]:
    return {
        "attempt": key.attempt,
        "rank": gang.first_process(key.rank) + key.local_rank,
        "task_rank": key.rank,
        "local_rank": key.local_rank,
        "stream": key.stream,
        "offset": begin,
        "end": state.place(),
        "at": to_rfc3339(state.came_ms) if state.came_ms else None,
        "text": text,
    }
