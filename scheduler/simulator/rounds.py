"""A run in rounds, as Gavel's simulator has them: to compare with what was published of it."""

import heapq
import math

from scheduler.simulator.cluster import NotPossible
from scheduler.simulator.jobs import JobRecord
from scheduler.simulator.world import World


class RoundWorld(World):
    """A cluster over virtual time in rounds.

    In a round a job does as many whole steps as fit; the next round begins when the slowest job of this one
    is through; arrivals wait for the next round.
    """

    round_ms = 360_000

    def run(self) -> None:
        """To the end."""
        while self.unfinished:
            if not self.running and not self.cluster.waiting:
                self._advance(max(self.now_ms, self._events[0][0]))
            while self._events and self._events[0][0] <= self.now_ms:
                _, event, _, what = heapq.heappop(self._events)
                self._happen(self.now_ms, event, what)
            self.settle()
            if not self.running:
                if not self._events:
                    raise NotPossible(
                        f"{len(self.cluster.waiting)} jobs wait, nothing runs, and nothing starts"
                    )
                self._advance(self._events[0][0])
                continue
            self._one_round()

    def _one_round(self) -> None:
        began_ms = self.now_ms
        longest_ms = 0.0
        ended: list[tuple[JobRecord, float]] = []
        for record in self.running.values():
            pause_ms = max(0, record.work_from_ms - began_ms)
            fits = max(0.0, (self.round_ms - pause_ms) * record.rate)
            done = min(record.steps_at_start, float(math.floor(fits)) if fits >= 1 else fits)
            took_ms = pause_ms + done / record.rate
            longest_ms = max(longest_ms, took_ms)
            record.steps_at_start -= done
            if record.steps_at_start <= 1e-9:
                ended.append((record, began_ms + took_ms))
        self._advance(began_ms + max(1, math.ceil(longest_ms)))
        for record, at_ms in ended:
            self.finish(record, round(at_ms))
        for record in self.running.values():  # steps are counted by the round: the next one begins now
            record.work_from_ms = max(record.work_from_ms, self.now_ms)
            record.steps_left = record.steps_at_start

    def _expect_finish(self, record: JobRecord) -> None:
        """Found when the round is over."""
