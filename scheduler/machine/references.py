"""How far the jobs are that others wait for. A reference is a job's id, or an array's for all of its jobs."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Dependencies


@dataclass(slots=True)
class Progress:
    """Counts of the jobs that one reference means, and who waits for it."""

    total: int = 1
    started: int = 0  # or ended without a start
    ended: int = 0
    failed: int = 0  # ended otherwise than well
    waiting: set[JobId] = field(default_factory=set)


class References:
    """Kept only while some queued job waits for them."""

    def __init__(self) -> None:
        self.progress: dict[str, Progress] = {}

    def started(self, references: Iterable[str]) -> set[JobId]:
        """A job that these references mean has started; returns who may have waited for that."""
        return self._count(references, started=1)

    def ended(self, references: Iterable[str], *, well: bool, had_started: bool) -> set[JobId]:
        """It has ended; returns who may have waited for that."""
        return self._count(references, started=int(not had_started), ended=1, failed=int(not well))

    def _count(
        self, references: Iterable[str], *, started: int = 0, ended: int = 0, failed: int = 0
    ) -> set[JobId]:
        told: set[JobId] = set()
        for reference in references:
            progress = self.progress.get(reference)
            if progress is not None:
                progress.started += started
                progress.ended += ended
                progress.failed += failed
                told |= progress.waiting
        return told

    def open_of(
        self, dependencies: Dependencies, before: frozenset[str]
    ) -> tuple[frozenset[str], str | None]:
        """Which of the references waited for before are still open, and one that can never be met.

        What was met stays met, so that only the references in `before` need to be known.
        """
        still: set[str] = set()
        broken = None
        for references, count in (
            (dependencies.after, "started"),
            (dependencies.after_ok, "ended"),
            (dependencies.after_any, "ended"),
        ):
            for ref in before.intersection(references):
                progress = self.progress[ref]
                if getattr(progress, count) < progress.total:
                    still.add(ref)
        for ref in dependencies.after_ok:
            if ref in before and self.progress[ref].failed:
                broken = ref
                break
        return frozenset(still), broken

    def wait(self, job_id: JobId, before: frozenset[str], now: frozenset[str]) -> None:
        """The job waited for some references, and waits for others now."""
        for reference in now:
            self.progress[reference].waiting.add(job_id)
        for reference in before - now:
            progress = self.progress[reference]
            progress.waiting.discard(job_id)
            if not progress.waiting:
                del self.progress[reference]
