"""The allocation of jobs to device models as a linear program, solved by HiGHS: most normalised throughput.

Maximise the sum over jobs of rate / best rate on the shares of time x[job, model], where a job's shares sum
to at most 1 and a model's devices are not given away twice (Gavel's max_sum_throughput, normalised).
"""

from collections.abc import Mapping, Sequence

import highspy
import numpy as np


def best_throughput(jobs: Sequence[tuple[int, Mapping[str, float]]], capacity: Mapping[str, int]) -> float:
    """The objective for jobs of (devices, rates by model). Raises RuntimeError where HiGHS finds no optimum."""
    models = list(capacity)
    columns = [
        (n, m) for n, (_, rates) in enumerate(jobs) for m, model in enumerate(models) if rates.get(model)
    ]
    gains = np.array([jobs[n][1][models[m]] / max(jobs[n][1].values()) for n, m in columns])
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    program = highspy.HighsLp()
    program.num_col_ = len(columns)
    program.num_row_ = len(jobs) + len(models)
    program.col_cost_ = -gains
    program.col_lower_ = np.zeros(len(columns))
    program.col_upper_ = np.ones(len(columns))
    program.row_lower_ = np.full(program.num_row_, -highspy.kHighsInf)
    program.row_upper_ = np.array([1.0] * len(jobs) + [float(capacity[model]) for model in models])
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = np.arange(0, 2 * len(columns) + 1, 2)
    program.a_matrix_.index_ = np.array([[n, len(jobs) + m] for n, m in columns]).ravel()
    program.a_matrix_.value_ = np.array([[1.0, float(jobs[n][0])] for n, _ in columns]).ravel()
    solver.passModel(program)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"HiGHS: {solver.modelStatusToString(solver.getModelStatus())}")
    return -float(solver.getInfo().objective_function_value)
