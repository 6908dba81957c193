"""Machine code of the kernels: made once for the life of a process, and kept on disk where it may be.

Until it is made Python runs the kernels as they are: the same answers, later. Whoever plans for a large fleet asks
for it (`want`); who must not wait for it has it made in a thread (controller/compiling.py).
"""

import threading
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import numpy as np

from scheduler.planner import kernels
from scheduler.planner.rows import Rows

# Nodes from which on it is worth it: below, Python is done before numba is imported.
WORTH_COMPILING: Final = 100

# Each after those that it calls.
_IN_ORDER: Final[tuple[Any, ...]] = (
    kernels._worth,
    kernels._work_out_rooms,
    kernels._host,
    kernels._whole,
    kernels._share,
    kernels._same,
    kernels._changed,
    kernels.lightest,
)
_making = threading.Lock()
_made: list[Any] = []  # numba's function


def compiled() -> bool:
    """Whether the kernels are machine code already."""
    return bool(_made)


def compile_all(folder: Path | None = None) -> None:
    """From now on machine code. Cost: some seconds where none is kept yet, else tenths; nothing the second time.

    It is kept beside the source or in the user's cache folder, else in `folder`; where all of them refuse,
    or hold what cannot be read, it is made all the same. May be called from any thread.
    """
    with _making:
        if _made:
            return
        try:
            fast = _make(keep=True, folder=folder)
        except Exception:  # noqa: BLE001 - a full disk, no place at all, a file cut short by a power cut: without
            fast = _make(keep=False, folder=None)
        kernels.lightest = _code_of(fast)  # at once for everybody: it calls none but those made with it
        _made.append(fast)


def wanted(nodes: int) -> bool:
    """Whether so many nodes are worth it, and it is not made."""
    return nodes >= WORTH_COMPILING and not _made


def want(nodes: int) -> None:
    """Make it now, if so many nodes are worth it."""
    if wanted(nodes):
        compile_all()


def _make(*, keep: bool, folder: Path | None) -> Any:
    """The compiled `lightest`, which has run once. Raises whatever numba does, OSError for what cannot be kept."""
    import numba  # a large library, and a small fleet needs it not

    # Copies in names of their own: until all is made, the originals go on being called by others.
    names = dict(vars(kernels))
    for function in _IN_ORDER:
        plain = FunctionType(function.__code__, names, function.__name__)
        plain.__annotations__ = {}
        names[function.__name__] = _decorated(numba, plain, keep=keep, folder=folder)
    names["lightest"](*_nothing())
    return names["lightest"]


def _code_of(compiled: Any) -> Any:
    """The code itself. Through numba a call first looks at the types of forty arrays, which takes longer than many
    a decision; they are always those of `_nothing` (tested), as nobody but the planner makes them.
    """
    signatures = getattr(compiled, "signatures", ())  # none where numba is told to make no code
    return compiled.overloads[signatures[0]].entry_point if signatures else compiled


def _decorated(numba: Any, function: FunctionType, *, keep: bool, folder: Path | None) -> Any:
    decorate = numba.njit(cache=keep, nogil=True, fastmath={"reassoc", "nsz", "contract"})
    try:
        return decorate(function)
    except RuntimeError:  # neither the source's folder nor the user's can be written
        if not keep or folder is None:
            raise
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        numba.config.CACHE_DIR = str(folder)
        return decorate(function)


def _nothing() -> tuple[Any, ...]:
    """Arguments of the types that the planner calls with, in which there is no row to look at."""
    ints = np.zeros(0, dtype=np.int64)
    floats, table, cube = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0))
    typical = kernels.Typical(0, table, table, ints, floats, floats, floats, table, table, False, floats)
    tables = kernels.Tables(table, cube, table, floats)
    weighed = kernels.Weighed(kernels.room_for(0, 0), typical, tables)
    asked = kernels.Asked(0, 0, 0, 0.0, 0.0, 0.0, 0)
    losses = kernels.Losses(ints, floats, ints)
    return np.zeros((0, 3), dtype=np.int64), 0, asked, Rows.empty(0, 0), weighed, losses
