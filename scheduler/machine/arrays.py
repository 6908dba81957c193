"""Arrays with a bound on how many of their jobs go on at a time: the lowest indices first."""

from bisect import bisect_left, insort

from scheduler.domain.ids import JobId


class ArrayMembers:
    """The live jobs of one array. What is admitted follows from what is stored, whatever came in which order."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running: set[JobId] = set()  # with an attempt that goes on
        self.ready: list[tuple[int, JobId]] = []  # queued, and nothing else holds them back; by index
        self.admitted: set[JobId] = set()  # of the ready ones

    def __bool__(self) -> bool:
        return bool(self.running or self.ready)

    def set_ready(self, index: int, job_id: JobId, *, ready: bool) -> None:
        """A member is ready, or no longer."""
        member = (index, job_id)
        at = bisect_left(self.ready, member)
        there = at < len(self.ready) and self.ready[at] == member
        if ready and not there:
            insort(self.ready, member)
        elif there and not ready:
            del self.ready[at]
            self.admitted.discard(job_id)

    def admit(self) -> tuple[set[JobId], set[JobId]]:
        """Members that are admitted from now on, and those that are no longer. Cost: O(concurrency)."""
        room = max(self.concurrency - len(self.running), 0)
        now = {job_id for _, job_id in self.ready[:room]}
        came, went = now - self.admitted, self.admitted - now
        self.admitted = now
        return came, went
