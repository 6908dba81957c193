"""What finished jobs teach: how long jobs of one kind run, in the past tense, as data for predictions.

Durations of jobs spread over decades, so that everything is learned of their logarithms. A kind with few
finished jobs leans on the wider kind above it: `a/b/c` on `a/b`, `a/b` on `a`, `a` on all jobs together.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

# How many finished jobs of its own a kind needs until they count as much as the wider kind.
_PRIOR_JOBS = 3.0
# Spread of the logarithm where nothing is known: a factor of four either way, about.
_UNKNOWN_SPREAD = 1.4
# Before anything is known, a declared limit counts as right within a factor of two, as if five jobs had said so.
_LIMIT_PRIOR_JOBS = 5
_LIMIT_SPREAD = 0.6
_NORMAL = NormalDist()


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
        return math.exp(self.log_mean + self.log_spread * _NORMAL.inv_cdf(probability))

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
        beyond = _NORMAL.cdf((self.log_mean - log) / spread)
        if beyond < 1e-9:
            return served_ms
        mean = math.exp(self.log_mean + spread * spread / 2)
        mean *= _NORMAL.cdf((self.log_mean + spread * spread - log) / spread) / beyond
        return max(mean - served_ms, 0.02 * served_ms)


@dataclass(frozen=True, slots=True)
class Experience:
    """Durations by kind, and how run times compare with what was asked for; immutable."""

    by_kind: Mapping[str, Durations] = field(default_factory=dict)
    of_asked: Durations = _NOTHING  # logarithms of run time / declared limit

    def learn(self, kind: str, run_ms: float, asked_ms: float | None = None) -> "Experience":
        """With one finished job more. Cost: O(kinds); use `Learning` where many finish."""
        learning = Learning(self)
        learning.finished(kind, run_ms, asked_ms)
        return learning.experience()

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


class Learning:
    """Collects finished jobs; gives snapshots of what it knows."""

    def __init__(self, known: Experience | None = None) -> None:
        self._by_kind = {} if known is None else dict(known.by_kind)
        self._of_asked = _NOTHING if known is None else known.of_asked
        self._made: Experience | None = known

    def finished(self, kind: str, run_ms: float, asked_ms: float | None = None) -> None:
        """A job of a kind succeeded after so long (all attempts, at the reference speed)."""
        for name in _widening(kind):
            self._by_kind[name] = self._by_kind.get(name, Durations()).plus(run_ms)
        if asked_ms is not None and asked_ms > 0:
            self._of_asked = self._of_asked.plus_log(math.log(max(run_ms, 1.0) / asked_ms))
        self._made = None

    def experience(self) -> Experience:
        """What is known now. Cost: O(kinds) after a change, else nothing."""
        if self._made is None:
            self._made = Experience(dict(self._by_kind), self._of_asked)
        return self._made
