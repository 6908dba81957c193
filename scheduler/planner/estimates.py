"""How long a job will still run, on which model: from its steps, from what its kind has taught, or not at all."""

from scheduler.catalogue import Catalogue
from scheduler.planner.experience import Prediction
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot, WaitingJob

_SURE = 0.9  # probability with which a job is expected to have ended by its late end


class Estimates:
    """Predictions of one cycle, remembered by shape. The reference speed is that of a shape's fastest model."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._catalogue: Catalogue = snapshot.catalogue
        self._experience = snapshot.experience
        self._predictions: dict[tuple[str, int | None], Prediction | None] = {}
        self._speeds: dict[Shape, dict[str, float]] = {}

    @property
    def known(self) -> bool:
        """Whether anything is learned: without it, order is by age alone."""
        return self._experience is not None

    def speeds(self, shape: Shape) -> dict[str, float]:
        """Speed of the gang on each of its models, the fastest being 1; 0 where it cannot run.

        Rates that were declared or measured count; a model without one is put beside the others by the
        catalogue's figure, and where there is none either it counts as the slowest that is known.
        """
        speeds = self._speeds.get(shape)
        if speeds is None:
            speeds = self._speeds[shape] = self._relative(shape)
        return speeds

    def _relative(self, shape: Shape) -> dict[str, float]:
        rates = dict(shape.rates)
        figures = {model: float(self._catalogue.fp16_gflops(model)) for model in shape.models}
        # Steps per GFLOP of the models of which both are known.
        ratios = [rates[m] / figures[m] for m in shape.models if rates.get(m) and figures[m]]
        per_gflop = sum(ratios) / len(ratios) if ratios else 1.0
        raw = {m: rates[m] if m in rates else figures[m] * per_gflop for m in shape.models}
        known = [value for value in raw.values() if value > 0]
        fastest, slowest = max(known, default=1.0), min(known, default=1.0)
        return {
            model: (value or (0.0 if model in rates else slowest)) / fastest for model, value in raw.items()
        }

    def left_ms(self, shape: Shape, job: WaitingJob, model: str | None = None) -> float | None:
        """Expected rest of its run on a model, on its fastest one where none is named; None: nobody knows."""
        speed = 1.0 if model is None else self.speeds(shape).get(model, 0.0)
        if speed <= 0:
            return None
        if job.steps_left is not None and shape.rates:
            fastest = max(rate for _, rate in shape.rates)
            return 1000.0 * job.steps_left / (fastest * speed) if fastest > 0 else None
        prediction = self._prediction(shape)
        return None if prediction is None else prediction.left_ms(job.served_ms) / speed

    def late_ms(self, shape: Shape, job: WaitingJob, model: str) -> float | None:
        """The rest of its run that it will hardly exceed; None: nobody knows."""
        left = self.left_ms(shape, job, model)
        prediction = self._prediction(shape)
        if left is None or prediction is None or (job.steps_left is not None and shape.rates):
            return left
        speed = self.speeds(shape)[model]
        return max(left, (prediction.quantile_ms(_SURE) - job.served_ms) / speed)

    def left_of(self, running: RunningJob) -> float | None:
        """Expected rest of a running job where it runs."""
        return self.left_ms(running.shape, running.waiting, running.model)

    def _prediction(self, shape: Shape) -> Prediction | None:
        if self._experience is None:
            return None
        key = (shape.kind, shape.time_limit_ms)
        if key not in self._predictions:
            self._predictions[key] = self._experience.predict(*key)
        return self._predictions[key]
