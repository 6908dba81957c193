"""How long a job will still run, on which model: from its steps, from what its kind has taught, or not at all."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from scheduler.catalogue import Catalogue
from scheduler.domain.job_limits import MOST_TIME_LIMIT_SECONDS
from scheduler.planner.config import PlannerConfig
from scheduler.planner.experience import Experience, Prediction
from scheduler.planner.likeness import Likeness
from scheduler.planner.snapshot import JobColumns, RunningJob, Shape, Snapshot, WaitingJob

_Answer = TypeVar("_Answer")
# How much a job minds that others would be faster on a device model: 0 is not at all.
_FOR_OTHERS = 0.5
_SPEED = attrgetter("models", "rates", "kind")  # what of a shape decides how fast it is on which model
_SURE = 0.9  # probability with which a job is expected to have ended by its late end
# What jobs say of their steps are any numbers. Nobody is believed to run for longer than the longest time limit, nor to
# be slower by more than this, so that whatever is computed of it can be kept and told: 64 bits.
_LONGEST_MS = 1000.0 * MOST_TIME_LIMIT_SECONDS
LEAST_SPEED = 1e-6


class Memory:
    """What stays true from cycle to cycle: kinds of demands, speeds, and predictions while nothing is learned."""

    _MOST = 100_000  # shapes; then it begins anew

    def __init__(self) -> None:
        self.likeness = Likeness()
        self.speeds: dict[tuple[object, ...], dict[str, float]] = {}
        # The same by the shape's identity, which is quicker than its fields.
        self.speeds_of: dict[int, tuple[Shape, dict[str, float]]] = {}
        self.predictions: dict[tuple[str, int | None], Prediction | None] = {}
        self.lefts: dict[tuple[str, int | None, int], float | None] = {}  # by what was served too
        self._experience: Experience | None = None

    def follow(self, experience: Experience | None) -> None:
        """Forgets what is no longer true."""
        if _runs(experience) is not _runs(self._experience) or len(self.predictions) > self._MOST:
            self.predictions = {}
            self.lefts = {}
        if len(self.lefts) > self._MOST:
            self.lefts = {}
        learned = _rates(experience) is not _rates(self._experience)
        if learned or len(self.speeds) > self._MOST or len(self.speeds_of) > self._MOST:
            self.speeds, self.speeds_of = {}, {}
        self._experience = experience


def _runs(experience: Experience | None) -> object:
    return None if experience is None else experience.by_kind


def _rates(experience: Experience | None) -> object:
    return None if experience is None else experience.rates


class Estimates:
    """Predictions of one cycle. The reference speed is that of a shape's fastest model."""

    def __init__(self, snapshot: Snapshot, memory: Memory | None = None) -> None:
        self._snapshot = snapshot
        self._catalogue: Catalogue = snapshot.catalogue
        self._experience = snapshot.experience
        memory = Memory() if memory is None else memory
        memory.follow(snapshot.experience)
        self._predictions = memory.predictions
        self._lefts = memory.lefts
        self._speeds = memory.speeds
        self._speeds_of = memory.speeds_of
        self._horizon_ms: float | None = None

    @property
    def known(self) -> bool:
        """Whether any run time is learned: without it, order is by age alone.

        On purpose also where jobs declare time limits: as long as nobody knows what limits are worth here, an
        honest long one must not put its job behind those that declare none. After the first jobs have finished,
        those that declare nothing are expected to run like all others.
        """
        return self._experience is not None and bool(self._experience.by_kind)

    @cached_property
    def predicts(self) -> bool:
        """Whether the rest of any job can be predicted at all."""
        snapshot = self._snapshot
        return (
            snapshot.experience is not None
            or any(item.shape.rates for item in snapshot.classes)
            or any(running.shape.rates for running in snapshot.running)
        )

    def speeds(self, shape: Shape) -> dict[str, float]:
        """Speed of the gang on each of its models, the fastest being 1; 0 where it cannot run.

        Rates that were declared or measured count; a model without one is put beside the others by the
        catalogue's figure, and where there is none either it counts as the slowest that is known.
        """
        known = self._speeds_of.get(id(shape))
        if known is not None and known[0] is shape:
            return known[1]
        key = _SPEED(shape)
        speeds = self._speeds.get(key)
        if speeds is None:
            speeds = self._speeds[key] = relative_speeds(shape, self._catalogue, self._experience)
        self._speeds_of[id(shape)] = shape, speeds
        return speeds

    def of_each(
        self, shapes: Iterable[Shape], answer: Callable[[Mapping[str, float]], _Answer]
    ) -> list[_Answer]:
        """For each shape what follows from its speeds, worked out once for those that are equally fast."""
        answers: dict[int, _Answer] = {}  # by identity: who is equally fast has one and the same
        found = []
        for shape in shapes:
            speeds = self.speeds(shape)
            at = id(speeds)
            if at not in answers:
                answers[at] = answer(speeds)
            found.append(answers[at])
        return found

    @cached_property
    def _typical(self) -> dict[str, float]:
        """Speed on a model, mean over the jobs that may use it. Cost: O(classes + running jobs), once."""
        snapshot = self._snapshot
        # Who is equally fast has one and the same answer: devices of all those, by its identity.
        asked: dict[int, int] = {}
        answers: dict[int, dict[str, float]] = {}
        waiting = ((item.shape, len(item.jobs)) for item in snapshot.classes)
        for shape, jobs in chain(waiting, ((running.shape, 1) for running in snapshot.running)):
            speeds = self.speeds(shape)
            at = id(speeds)
            asked[at] = asked.get(at, 0) + jobs * shape.devices
            answers[at] = speeds
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        for at, weight in asked.items():
            for model, speed in answers[at].items() if len(answers[at]) > 1 else ():
                sums[model] = sums.get(model, 0.0) + weight * speed
                weights[model] = weights.get(model, 0.0) + weight
        return {model: sums[model] / weights[model] for model in sums if weights[model]}

    @cached_property
    def _dear(self) -> dict[str, float]:
        """What others would lose on a model."""
        return {model: typical**_FOR_OTHERS for model, typical in self._typical.items()}

    def costs(self, shape: Shape) -> dict[str, float]:
        """How dear a start on each model is on which it can run: its run time, and what others would lose there.

        Run time x the typical speed on the model to a power below 1: a device that is fast for everybody is
        worth more to those whom nothing else serves as well.
        """
        dear = self._dear
        return {
            model: dear.get(model, 1.0) / speed for model, speed in self.speeds(shape).items() if speed > 0
        }

    def left_ms(self, shape: Shape, job: WaitingJob | RunningJob, model: str | None = None) -> float | None:
        """Expected rest of its run on a model, on its fastest one where none is named; None: nobody knows."""
        speed = 1.0 if model is None else self.speeds(shape).get(model, 0.0)
        if speed <= 0:
            return None
        if job.steps_left is not None and shape.rates:
            return steps_take_ms(shape, job.steps_left, speed)
        left = self._expected_ms(shape, job.served_ms)
        return None if left is None else min(left / speed, _LONGEST_MS)

    def lefts_ms(self, shape: Shape, jobs: JobColumns) -> list[float | None]:
        """The same of many jobs of one shape on its fastest model."""
        steps_left, served_ms = jobs.steps_left, jobs.served_ms
        if shape.rates and steps_left.count(None) < len(steps_left):
            fastest = max([rate for _, rate in shape.rates])
            return [
                self._reference_ms(shape, served)
                if steps is None
                else min(1000.0 * steps / fastest, _LONGEST_MS)
                if fastest > 0
                else None
                for steps, served in zip(steps_left, served_ms, strict=True)
            ]
        # Then what they have had is all that tells them apart, as a rule nothing.
        lefts = {served: self._reference_ms(shape, served) for served in set(served_ms)}
        if len(lefts) == 1:
            return list(lefts.values()) * len(served_ms)
        return [lefts[served] for served in served_ms]

    def _reference_ms(self, shape: Shape, served_ms: int) -> float | None:
        """What experience expects of the rest on its fastest model."""
        left = self._expected_ms(shape, served_ms)
        return None if left is None else min(left, _LONGEST_MS)

    def _expected_ms(self, shape: Shape, served_ms: int) -> float | None:
        """What experience expects of the rest at the reference speed. Asked several times a cycle of each job."""
        asked_ms = shape.time_limit_ms if shape.estimate_ms is None else shape.estimate_ms
        key = (shape.kind, asked_ms, served_ms)
        try:
            return self._lefts[key]
        except KeyError:
            prediction = self._prediction(shape)
            left = self._lefts[key] = None if prediction is None else prediction.left_ms(served_ms)
            return left

    def late_ms(self, shape: Shape, job: WaitingJob | RunningJob, model: str | None = None) -> float | None:
        """The rest of its run that it will hardly exceed; None: nobody knows. See `left_ms`."""
        left = self.left_ms(shape, job, model)
        prediction = self._prediction(shape)
        if left is None or prediction is None or (job.steps_left is not None and shape.rates):
            return left
        speed = 1.0 if model is None else self.speeds(shape)[model]
        return min(max(left, (prediction.quantile_ms(_SURE) - job.served_ms) / speed), _LONGEST_MS)

    def horizon_ms(self) -> float:
        """How long everything that runs and waits would take at least, spread evenly over all devices.

        Devices of each model count by the typical speed there. Cost: O(waiting and running jobs), once.
        """
        if self._horizon_ms is None:
            self._horizon_ms = self._horizon()
        return self._horizon_ms

    def _horizon(self) -> float:
        snapshot = self._snapshot
        work = 0.0
        for item in snapshot.classes:
            shape, devices = item.shape, item.shape.devices
            if item.alike:
                work += len(item.jobs) * ((self.left_ms(shape, item.jobs[0]) or 0.0) * devices)
            else:
                work += sum([(left or 0.0) * devices for left in self.lefts_ms(shape, item.columns)])
        for running in snapshot.running:
            work += (self.left_ms(running.shape, running) or 0.0) * running.devices
        speed = sum(
            on_node.healthy * self._typical.get(model, 1.0)
            for view in snapshot.nodes
            if view.usable
            for model, on_node in view.by_model.items()
        )
        return work / speed if speed else 0.0

    def left_of(self, running: RunningJob) -> float | None:
        """Expected rest of a running job where it runs."""
        return self.left_ms(running.shape, running, running.model)

    def _prediction(self, shape: Shape) -> Prediction | None:
        if self._experience is None:
            return None
        asked_ms = shape.time_limit_ms if shape.estimate_ms is None else shape.estimate_ms
        key = (shape.kind, asked_ms)
        if key not in self._predictions:
            self._predictions[key] = self._experience.predict(*key)
        return self._predictions[key]


def steps_take_ms(shape: Shape, steps: float, speed: float) -> float | None:
    """Of a shape with rates, at a speed as of `Estimates.speeds`; None: nobody knows."""
    fastest = max([rate for _, rate in shape.rates])
    return min(1000.0 * steps / (fastest * speed), _LONGEST_MS) if fastest > 0 else None


def relative_speeds(shape: Shape, catalogue: Catalogue, experience: Experience | None) -> dict[str, float]:
    """Speed of a gang on each of its models, the fastest being 1; see `Estimates.speeds`."""
    rates = dict(shape.rates)
    if experience is not None and not rates:
        rates = experience.rates_of(shape.kind, shape.models)
    raw = {m: rates[m] for m in shape.models if m in rates}
    known = [rate for rate in raw.values() if rate > 0]
    if len(known) == len(shape.models):  # as a rule
        fastest = max(known)
        return {model: max(rate / fastest, LEAST_SPEED) for model, rate in raw.items()}
    if len(raw) < len(shape.models):
        figures = {model: float(catalogue.fp16_gflops(model)) for model in shape.models}
        # Steps per GFLOP of the models of which both are known.
        ratios = [rate / figures[m] for m, rate in raw.items() if rate and figures[m]]
        per_gflop = sum(ratios) / len(ratios) if ratios else 1.0
        raw = {m: rates[m] if m in rates else figures[m] * per_gflop for m in shape.models}
    known = [value for value in raw.values() if value > 0]
    fastest, slowest = max(known, default=1.0), min(known, default=1.0)
    speeds = {
        model: (value or (0.0 if model in rates else slowest)) / fastest for model, value in raw.items()
    }
    return {model: max(speed, LEAST_SPEED) if speed else 0.0 for model, speed in speeds.items()}


def ends_in_time(
    shape: Shape,
    job: WaitingJob,
    model: str | None,
    estimates: Estimates,
    now_ms: int,
    config: PlannerConfig,
) -> int | None:
    """When a job that starts now has ended: by its time limit, else as good as surely; None: nobody knows.

    On its fastest model where none is named.
    """
    if shape.time_limit_ms is not None:
        return now_ms + shape.time_limit_ms + config.stop_margin_ms
    late_ms = estimates.late_ms(shape, job, model)
    return None if late_ms is None else now_ms + int(late_ms) + config.stop_margin_ms
