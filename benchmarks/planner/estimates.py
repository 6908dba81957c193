"""What the planner is told of a job's run time: the protocol's KNOWN and ESTIMATED."""

import numpy as np

SPREAD = 0.5  # of the logarithm of declared limit / run time


class Declared:
    """Limits as owners would declare them: the run time times a lognormal factor, one seed for all cases."""

    def __init__(self, jobs: int, seed: int = 0) -> None:
        self._factors = np.random.default_rng(seed).lognormal(0.0, SPREAD, jobs)

    def limit_ms(self, number: int, run_s: float) -> int:
        """The limit of the job with this number in the trace."""
        return max(1, round(1000 * run_s * float(self._factors[number])))
