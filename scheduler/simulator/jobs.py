"""A job in a virtual run: what it is, and what became of it. Times in whole milliseconds, work in steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.domain.ids import JobId
from scheduler.planner import Shape


@dataclass(frozen=True, slots=True)
class Work:
    """A job of the trace. `rates` are true; what the planner may believe of them stands in the shape."""

    job_id: JobId
    shape: Shape
    arrival_ms: int
    steps: float
    rates: Mapping[str, float]  # steps per second by model, with as many devices as the shape asks for
    steps_known: bool = False  # the planner is told how many are left
    checkpoint_ms: int | None = 0  # between two model checkpoints; 0: nothing is lost; None: it has none
    declared_ms: int | None = None  # what its owner said of its run time
    # Steps per second on the model that suits it best: the speed at which run times are compared.
    fastest: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fastest", max(self.rates.values(), default=0.0))


@dataclass(slots=True)
class JobRecord:
    """What became of a job, and its present attempt."""

    work: Work
    steps_left: float  # outside an attempt; within one see `left`
    first_start_ms: int | None = None
    finish_ms: int | None = None
    starts: int = 0
    stops: int = 0
    lost_steps: float = 0.0
    lost_to: dict[str, int] = field(default_factory=dict)  # device-ms, by the cause of the stop
    overhead_device_ms: int = 0  # held without progress after a start that was not the first
    held_device_ms: dict[str, int] = field(default_factory=dict)  # by model
    paid_device_ms: dict[str, int] = field(default_factory=dict)  # of it what costs: spare nodes do not
    held_ms: int = 0  # in attempts that have ended
    announced: "Announced | None" = None
    # Of the present attempt.
    model: str = ""
    devices: float = 0.0  # held; parts of devices count as parts
    workers: float = 0.0  # of them those that work
    started_ms: int = 0
    pause_ms: int = 0  # from its start until work begins
    work_from_ms: int = 0
    rate: float = 0.0  # steps per millisecond; 0: it does not run
    steps_at_start: float = 0.0

    @property
    def jct_ms(self) -> int | None:
        """From arrival to finish."""
        return None if self.finish_ms is None else self.finish_ms - self.work.arrival_ms

    @property
    def wait_ms(self) -> int | None:
        """From arrival to the first start."""
        return None if self.first_start_ms is None else self.first_start_ms - self.work.arrival_ms

    def left(self, now_ms: float) -> float:
        """Steps left at a moment."""
        if not self.rate:
            return self.steps_left
        worked_ms = now_ms - self.work_from_ms
        if worked_ms <= 0:
            return max(0.0, self.steps_at_start)
        return max(0.0, self.steps_at_start - worked_ms * self.rate)

    def served_ms(self, left: float) -> int:
        """Run time that counts as progress when so many steps are left, as if all had been at the fastest rate."""
        return round((self.work.steps - left) / self.work.fastest * 1000)

    def saved_steps(self, now_ms: int) -> float:
        """Steps left according to the newest model checkpoint."""
        every_ms = self.work.checkpoint_ms
        if every_ms == 0:
            return self.left(now_ms)
        if every_ms is None:
            return self.work.steps
        return self.left(self.saved_at_ms(now_ms) or self.work_from_ms)

    def saved_at_ms(self, now_ms: int) -> int | None:
        """When the newest model checkpoint of this attempt was complete; None: not yet."""
        every_ms = self.work.checkpoint_ms
        if every_ms == 0:
            return now_ms
        if every_ms is None or now_ms <= self.work_from_ms:
            return None
        saves = (now_ms - self.work_from_ms) // every_ms
        return self.work_from_ms + saves * every_ms if saves else None


@dataclass(frozen=True, slots=True)
class Announced:
    """The first interval in which a job was told to start."""

    at_ms: int
    low_ms: int
    forecast_ms: int  # in the order of the turns
    high_ms: int
