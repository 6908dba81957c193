"""Which job is worth most on which device model: many jobs that resume, few models, one common market.

Each model has a price per device. A job takes the model on which its value less the price is greatest, if
that is above nothing. Prices are set one after the other so that no model is asked for beyond what there is:
coordinate descent on the dual of the linear relaxation, a fixed number of rounds, so that the work is bounded
and the same input gives the same answer. What the prices leave open is rounded: the best surplus first. As
descent along the coordinates may stop short of the best prices, jobs of one size then change places in rings
(cycle canceling, Klein 1967) as long as that gains anything, in bounded rounds too. All that is in market_kernels.py.
"""

import numpy as np

from scheduler.planner import market_kernels
from scheduler.planner.rows import Floats, Ints


def assign(values: Floats, devices: Floats, capacity: Floats) -> Ints:
    """The model of each job, -1 for none.

    `values` (jobs, models): what it is worth to run the job there now, 0 or less where it cannot. `devices`
    (jobs): how many it takes, whole numbers. `capacity` (models): how many there are.
    Cost: rounds x models x n log n.
    """
    if not values.size:
        return np.full(len(values), -1, dtype=np.int64)
    # Of exactly these types, as machine code looks at none of them.
    by_model = np.ascontiguousarray(values.T, dtype=np.float64)
    left = np.array(capacity, dtype=np.float64)
    return market_kernels.share_out(by_model, np.ascontiguousarray(devices, dtype=np.float64), left)
