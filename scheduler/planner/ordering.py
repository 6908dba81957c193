"""Which waiting job is looked at next: priority class, then the queue's weighted usage, then age."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from scheduler.catalogue import Catalogue
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner.config import PlannerConfig
from scheduler.planner.snapshot import JobClass, Snapshot, WaitingJob

_HIGHEST = Priority.HIGH.rank


@dataclass(slots=True)
class ClassCursor:
    """How far a class has been planned."""

    number: int  # in the snapshot
    job_class: JobClass
    next: int = 0

    @property
    def head(self) -> WaitingJob | None:
        """The oldest job of the class that is still to be judged."""
        jobs = self.job_class.jobs
        return jobs[self.next] if self.next < len(jobs) else None


@dataclass(slots=True)
class _QueueLine:
    key: QueueKey
    weight: int
    usage: int  # GFLOP/s x ms, charged ahead
    # (negative rank, oldest job, class number) of the classes that may still start something
    heads: list[tuple[int, WaitingJob, int]] = field(default_factory=list)


class Ordering:
    """Gives classes in order. Cost of each step: log(queues) + log(classes of the queue)."""

    def __init__(self, snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> None:
        self._config = config
        self._now_ms = now_ms
        self._catalogue = snapshot.catalogue
        self.cursors = [ClassCursor(number, item) for number, item in enumerate(snapshot.classes)]
        self._lines: dict[QueueKey, _QueueLine] = {}
        for cursor in self.cursors:
            key = cursor.job_class.shape.queue
            line = self._lines.get(key)
            if line is None:
                queue = snapshot.queues.get(key)
                usage = snapshot.usage.get(key, 0) + self._ahead(snapshot.held.get(key, {}), self._catalogue)
                line = self._lines[key] = _QueueLine(key, 1 if queue is None else queue.weight, usage)
            self._push_class(line, cursor)
        self._heap: list[tuple[int, Fraction, WaitingJob, QueueKey]] = []
        for line in self._lines.values():
            self._push_line(line)

    def pop(self) -> ClassCursor | None:
        """The class whose head is next; give it back with `again` or drop it with `leave`."""
        if not self._heap:
            return None
        *_, key = heapq.heappop(self._heap)
        _, _, number = heapq.heappop(self._lines[key].heads)
        return self.cursors[number]

    def again(self, cursor: ClassCursor, model: str) -> None:
        """The head was placed on a model: charge its queue, and go on with the class."""
        shape = cursor.job_class.shape
        line = self._lines[shape.queue]
        line.usage += self._ahead({model: shape.devices}, self._catalogue)
        cursor.next += 1
        self._push_class(line, cursor)
        self._push_line(line)

    def leave(self, cursor: ClassCursor) -> None:
        """The head is blocked, and with it the rest of its class: capacity only shrinks within a cycle."""
        self._push_line(self._lines[cursor.job_class.shape.queue])

    def _push_class(self, line: _QueueLine, cursor: ClassCursor) -> None:
        head = cursor.head
        if head is not None:
            waited_ms = max(0, self._now_ms - head.submitted_ms)
            rank = cursor.job_class.shape.priority.rank + waited_ms // self._config.ageing_ms
            heapq.heappush(line.heads, (-min(rank, _HIGHEST), head, cursor.number))

    def _push_line(self, line: _QueueLine) -> None:
        if line.heads:
            rank, head, _ = line.heads[0]
            heapq.heappush(self._heap, (rank, Fraction(line.usage, line.weight), head, line.key))

    def _ahead(self, devices: Mapping[str, int], catalogue: Catalogue) -> int:
        config = self._config
        gflops = sum(
            count * (catalogue.fp16_gflops(model) or config.unknown_fp16_gflops)
            for model, count in devices.items()
        )
        return gflops * config.charge_ahead_ms
