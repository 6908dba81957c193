"""Output of a job from its files: what is new since the last look, as text, in order within each stream.

Blocking file work; the stream calls it in a thread.
"""

import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.domain.gangs import Gang
from scheduler.services.jobs import LogPlan
from scheduler.storage.job_logs import STREAMS, JobLogs, LogKey

CHUNK_BYTES = 64 * 1024
MOST_TAIL_BYTES = 1 << 20


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
    """How far a stream has been read. Characters may be cut between two reads: the decoder keeps the rest."""

    offset: int = 0
    complete: bool = False
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def pending_bytes(self) -> int:
        return len(self.decoder.getstate()[0])


class JobOutput:
    """Reads the streams of one job again and again."""

    def __init__(self, logs: JobLogs, wanted: OutputFilter, begin: Begin | None = None) -> None:
        self._logs = logs
        self._wanted = wanted
        self._begin = begin or Begin()
        self._open: dict[LogKey, _Open] = {}

    def records(self, plan: LogPlan, attempts: Iterable[int], most: int) -> list[Mapping[str, Any]]:
        """What is new, at most `most` chunks."""
        result: list[Mapping[str, Any]] = []
        gang = plan.gang
        for attempt in attempts:
            for key in self._logs.streams(plan.firm_id, plan.job_id, attempt):
                if not self._wanted.wants(key, gang):
                    continue
                state = self._open.get(key)
                if state is None:
                    state = self._open[key] = _Open(self._begin.offset(self._logs, key, gang))
                if state.complete:
                    continue
                for begin, end, text in self._new_text(key, state, most - len(result)):
                    result.append(_record(key, gang, begin, end, text))
                if len(result) >= most:
                    return result
        return result

    def _new_text(self, key: LogKey, state: _Open, most: int) -> Iterator[tuple[int, int, str]]:
        """(offset of the first byte, behind the last, text)."""
        # Asked before reading: bytes that come after the answer are found by the next look.
        complete = self._logs.is_complete(key)
        for _ in range(most):
            data = self._logs.read(key, state.offset, CHUNK_BYTES)
            if not data:
                break
            begin = state.offset - state.pending_bytes()
            state.offset += len(data)
            text = state.decoder.decode(data)
            if text:
                yield begin, state.offset - state.pending_bytes(), text
        else:
            return
        if complete:
            begin = state.offset - state.pending_bytes()
            rest = state.decoder.decode(b"", True)
            state.complete = True
            if rest:
                yield begin, state.offset, rest

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


def _record(key: LogKey, gang: Gang, begin: int, end: int, text: str) -> Mapping[str, Any]:
    return {
        "attempt": key.attempt,
        "rank": gang.first_process(key.rank) + key.local_rank,
        "task_rank": key.rank,
        "local_rank": key.local_rank,
        "stream": key.stream,
        "offset": begin,
        "end": end,
        "text": text,
    }
