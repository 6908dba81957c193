"""What finished jobs teach: how long jobs of one kind run, in the past tense, as data for predictions.

Durations of jobs spread over decades, so that everything is learned of their logarithms. A kind with few
finished jobs leans on the wider kind above it: `a/b/c` on `a/b`, `a/b` on `a`, `a` on all jobs together.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from statistics import NormalDist
from typing import NamedTuple

from scheduler.domain.ids import FirmId, JobId
from scheduler.planner.told_starts import (
    KEPT_STARTS,
    OfFirm,
    Starts,
    Waits,
    level,
    size_of,
    waits,
)

# How many finished jobs of its own a kind needs until they count as much as the wider kind.
_PRIOR_JOBS = 3.0
# Spread of the logarithm where nothing is known: a factor of four either way, about.
_UNKNOWN_SPREAD = 1.4
# Before anything is known, a declared limit counts as right within a factor of two, as if five jobs had said so.
_LIMIT_PRIOR_JOBS = 5
_LIMIT_SPREAD = 0.6
_SQRT2 = math.sqrt(2.0)


def _normal(x: float) -> float:
    """The normal distribution up to x; `NormalDist.cdf` to the bit, in a third of the time."""
    return 0.5 * (1.0 + math.erf(x / _SQRT2))


_inverse_normal = lru_cache(maxsize=64)(NormalDist().inv_cdf)  # asked for a few probabilities, very often


class Durations(NamedTuple):
    """Number, sum and sum of squares of the logarithms of run times (ms at the reference speed)."""

    jobs: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, run_ms: float) -> "Durations":
        """With one job more."""
        return self.plus_log(math.log(max(run_ms, 1.0)))

    def plus_log(self, log: float) -> "Durations":
        """With one logarithm more."""
        return Durations(self.jobs + 1, self.total + log, self.squares + log * log)


_NOTHING = Durations()


class Prediction(NamedTuple):
    """A log-normal guess of a whole run time at the reference speed."""

    log_mean: float
    log_spread: float
    known_jobs: int = 0

    @property
    def median_ms(self) -> float:
        """As likely longer as shorter."""
        return math.exp(self.log_mean)

    def quantile_ms(self, probability: float) -> float:
        """Run time that is not exceeded with this probability."""
        return math.exp(self.log_mean + self.log_spread * _inverse_normal(probability))

    def left_ms(self, served_ms: float) -> float:
        """Expected rest of a job that has run for so long and has not ended.

        The mean of the log-normal beyond `served_ms` less what was served; it grows with the age of a job
        that has outlived its prediction. Bounded, as the tail of few observations is not worth believing.
        """
        spread = min(self.log_spread, 2.0)
        if spread < 1e-3:
            return max(self.median_ms - served_ms, self.median_ms * 0.02)
        if served_ms <= 0:
            return math.exp(self.log_mean + spread * spread / 2)
        log = math.log(served_ms)
        beyond = _normal((self.log_mean - log) / spread)
        if beyond < 1e-9:
            # Nothing of what was believed is left: as long again. It jumps to that, once in a run; were it to grow
            # to it from what the tail says, jobs so old would take turns every few minutes again.
            return served_ms
        mean = math.exp(self.log_mean + spread * spread / 2)
        mean *= _normal((self.log_mean + spread * spread - log) / spread) / beyond
        return max(mean - served_ms, 0.02 * served_ms)


@dataclass(frozen=True, slots=True)
class Experience:
    """Durations by kind, and how run times compare with what was asked for; immutable."""

    by_kind: Mapping[str, Durations] = field(default_factory=dict)
    of_asked: Durations = _NOTHING  # logarithms of run time / declared limit
    rates: Mapping[tuple[str, str], Durations] = field(default_factory=dict)  # of steps/s, by (kind, model)
    starts: Starts = field(default_factory=Starts)  # how announced starts came out

    def rates_of(self, kind: str, models: Iterable[str]) -> dict[str, float]:
        """Steps per second of a gang of the kind on those of the models where it was seen: the geometric mean."""
        found = {model: self.rates.get((kind, model)) for model in models}
        return {
            model: math.exp(seen.total / seen.jobs) for model, seen in found.items() if seen and seen.jobs
        }

    def predict(self, kind: str, asked_ms: float | None = None) -> Prediction | None:
        """What to expect of a job of a kind that asked for so long. None: nothing is known.

        The kind's history and the declared limit are two witnesses with errors of their own: each counts by
        its precision. Cost: the depth of the kind's name.
        """
        guess: Prediction | None = None
        for name in reversed(list(_widening(kind))):
            found = self.by_kind.get(name)
            if found is not None and found.jobs:
                guess = _blend(guess, found)
        if asked_ms is None:
            return guess
        asked = self._from_limit(asked_ms)
        if guess is None:
            return asked
        own, other = guess.log_spread**-2, asked.log_spread**-2
        mean = (guess.log_mean * own + asked.log_mean * other) / (own + other)
        return Prediction(mean, (own + other) ** -0.5, guess.known_jobs)

    def _from_limit(self, asked_ms: float) -> Prediction:
        seen = self.of_asked
        weight = _LIMIT_PRIOR_JOBS + seen.jobs
        mean = seen.total / weight
        squares = seen.squares + _LIMIT_PRIOR_JOBS * _LIMIT_SPREAD**2
        spread = math.sqrt(max(squares / weight - mean * mean, 0.01))
        return Prediction(math.log(max(asked_ms, 1.0)) + mean, spread)


def _blend(wider: Prediction | None, own: Durations) -> Prediction:
    mean = own.total / own.jobs
    scatter = max(own.squares - own.jobs * mean * mean, 0.0)
    if wider is None:
        spread = math.sqrt((scatter + _UNKNOWN_SPREAD**2) / (own.jobs + 1))
        return Prediction(mean, max(spread, 0.1), own.jobs)
    weight = own.jobs / (own.jobs + _PRIOR_JOBS)
    log_mean = weight * mean + (1 - weight) * wider.log_mean
    between = weight * (1 - weight) * (mean - wider.log_mean) ** 2
    variance = (scatter + _PRIOR_JOBS * wider.log_spread**2) / (own.jobs + _PRIOR_JOBS)
    return Prediction(log_mean, max(math.sqrt(variance + between * (1 - weight)), 0.1), own.jobs)


def _widening(kind: str) -> Iterator[str]:
    """The kind, then every wider one, at last all jobs together."""
    while kind:
        yield kind
        kind = kind.rpartition("/")[0]
    yield ""


def _newest(waiting: Mapping[FirmId, dict[JobId, Waits]]) -> Iterator[Waits]:
    """Of each firm its part of those that count."""
    most = level([len(of_firm) for of_firm in waiting.values() if of_firm], KEPT_STARTS)
    for of_firm in waiting.values():
        yield from islice(reversed(of_firm.values()), most)


class Learned(NamedTuple):
    """The name of one thing that was learned."""

    subject: str  # run | asked | rate | told_by
    kind: str  # of jobs; of told starts the number of the size
    model: str  # of devices; of told starts the firm


class Learning:
    """Collects finished jobs; gives snapshots of what it knows."""

    def __init__(self, known: Experience | None = None) -> None:
        self._by_kind = {} if known is None else dict(known.by_kind)
        self._of_asked = _NOTHING if known is None else known.of_asked
        self._rates: Mapping[tuple[str, str], Durations] = {} if known is None else known.rates
        self._starts = Starts() if known is None else known.starts
        # Who was told a start and still waits, by size and firm, in the order of telling: memory, the machine fills it
        # again.
        self._waiting = tuple(defaultdict[FirmId, dict[JobId, Waits]](dict) for _ in self._starts.sizes)
        self._waits_in: dict[JobId, dict[JobId, Waits]] = {}
        self._kinds: Mapping[str, Durations] | None = None  # as in snapshots: the same until another job ends
        self._made: Experience | None = known

    def finished(self, kind: str, run_ms: float, asked_ms: float | None = None) -> set[Learned]:
        """A job of a kind succeeded after so long (all attempts, at the reference speed). Returns what changed."""
        touched = {Learned("run", name, "") for name in _widening(kind)}
        for name in _widening(kind):
            self._by_kind[name] = self._by_kind.get(name, Durations()).plus(run_ms)
        if asked_ms is not None and asked_ms > 0:
            self._of_asked = self._of_asked.plus_log(math.log(max(run_ms, 1.0) / asked_ms))
            touched.add(Learned("asked", "", ""))
        self._kinds = self._made = None
        return touched

    def ran(self, kind: str, model: str, steps_per_s: float) -> set[Learned]:
        """An attempt of a kind did so many steps a second on a model."""
        if steps_per_s > 0:
            seen = self._rates.get((kind, model), _NOTHING).plus_log(math.log(steps_per_s))
            self._rates = {**self._rates, (kind, model): seen}  # the old one is in snapshots
            self._made = None
        return {Learned("rate", kind, model)} if steps_per_s > 0 else set()

    def told(self, firm: FirmId, job_id: JobId, at_ms: int, expected_ms: float, devices: int) -> None:
        """A job of so many devices was told its start, forecast after so long. In the order of telling."""
        self.withdrawn(job_id)
        self._waits_in[job_id] = of_firm = self._waiting[size_of(devices)][firm]
        of_firm[job_id] = waits(at_ms, expected_ms, firm)
        self._made = None

    def withdrawn(self, job_id: JobId) -> None:
        """A job has ended; if it had not started, it never will."""
        if (of_firm := self._waits_in.pop(job_id, None)) is not None:
            del of_firm[job_id]
            self._made = None

    def started(
        self, firm: FirmId, job_id: JobId, told_ms: Sequence[float], waited_ms: float, devices: int
    ) -> set[Learned]:
        """A job of so many devices that was told (low, by the forecast, high) waits started after so long."""
        self.withdrawn(job_id)
        at = size_of(devices)
        before = self._starts.sizes[at]
        waiting = sum(map(len, self._waiting[at].values()))
        self._starts = self._starts.plus(firm, told_ms, waited_ms, devices, waiting)
        self._made = None
        after = self._starts.sizes[at].items()
        return {Learned("told_by", str(at), name) for name, of in after if of is not before.get(name)}

    def numbers(self, what: Learned) -> list[float]:
        """One thing that was learned, to be stored."""
        if what.subject == "told_by":
            of = self._starts.sizes[int(what.kind)][FirmId(what.model)]
            return [*of.tails, *(number for start in of.starts for number in start)]
        if what.subject == "rate":
            return list(map(float, self._rates[what.kind, what.model]))
        return list(map(float, self._of_asked if what.subject == "asked" else self._by_kind[what.kind]))

    def remember(self, what: Learned, numbers: Sequence[float]) -> None:
        """One thing that was stored. What another version stores is left alone."""
        seen = Durations(int(numbers[0]), numbers[1], numbers[2]) if len(numbers) == 3 else _NOTHING
        match what.subject:
            case "run":
                self._by_kind[what.kind] = seen
            case "asked":
                self._of_asked = seen
            case "rate":
                self._rates = {**self._rates, (what.kind, what.model): seen}
            case "told_by" if int(what.kind) < len(self._starts.sizes) and len(numbers) >= 2:
                at, (early, late, *rest) = int(what.kind), numbers
                of = OfFirm(tuple(zip(rest[::2], rest[1::2], strict=True)), (early, late))
                self._starts = self._starts.having(at, {**self._starts.sizes[at], FirmId(what.model): of})
        self._kinds = self._made = None

    def experience(self) -> Experience:
        """What is known now. Cost: O(kinds) after a change, else nothing."""
        if self._made is None:
            if self._kinds is None:
                self._kinds = dict(self._by_kind)
            starts = replace(self._starts, waiting=tuple(tuple(sorted(_newest(of))) for of in self._waiting))
            self._made = Experience(self._kinds, self._of_asked, self._rates, starts)
        return self._made
