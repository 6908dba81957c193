"""What is free, one row a node and device model, in the arrays that the kernels read."""

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


EVERYBODY = -1


@lru_cache(maxsize=1 << 16)
def firm_number(firm: str) -> int:
    """A firm in arrays, the same in every process; two firms with one number are beyond all chance."""
    return int.from_bytes(sha256(firm.encode()).digest()[:8]) >> 1


class Rows(NamedTuple):
    """Columns of the rows; a cell has a stretch of them."""

    ppm: Ints  # (rows, devices): room of each device, for everybody
    device_bytes: Floats  # (rows, devices): room of its memory; inf where it is not counted
    firm: Ints  # (rows, devices): who alone may have parts of it (firm_number); -1: everybody
    cpu: Floats  # left of the host, thousandths of a core; inf where it is not counted, below 0: out of service
    memory: Floats  # left of the host, bytes
    penalty: Floats  # 1 for suspect nodes, which come last
    state: Ints  # which of its whole devices are free (layouts.States)
    model: Ints  # number of the device model
    changed: Ints  # when the row changed last, by the clock

    @classmethod
    def empty(cls, rows: int, devices: int) -> "Rows":
        """All gone."""
        return cls(
            np.zeros((rows, devices), dtype=np.int64),
            np.zeros((rows, devices)),
            np.full((rows, devices), EVERYBODY, dtype=np.int64),
            np.full(rows, -1.0),
            np.zeros(rows),
            np.zeros(rows),
            np.zeros(rows, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
        )

    def stretch(self, begin: int, end: int) -> "Rows":
        """Rows begin..end, the same memory."""
        return Rows(
            self.ppm[begin:end],
            self.device_bytes[begin:end],
            self.firm[begin:end],
            self.cpu[begin:end],
            self.memory[begin:end],
            self.penalty[begin:end],
            self.state[begin:end],
            self.model[begin:end],
            self.changed[begin:end],
        )


class Clock:
    """Counts changes of rows: whoever keeps something derived from a row sees whether it is newer."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0
