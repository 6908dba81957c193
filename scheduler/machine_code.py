"""Machine code of the planner's inner loops: made once for the life of a process, and kept on disk where it may be.

Until it is made Python runs the kernels as they are: the same answers, later. Whoever plans for a large fleet asks
for it (`want`); who must not wait for it has it made in a thread (controller/compiling.py).
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from scheduler.planner import kernels, market_kernels
from scheduler.planner.rows import Rows

# Nodes from which on it is worth it: below, Python is done before numba is imported.
WORTH_COMPILING: Final = 100

_making = threading.Lock()
_made: list[Any] = []  # numba's functions that others call, in the order of `_SOURCES`


def compiled() -> bool:
    """Whether the kernels are machine code already."""
    return bool(_made)


def compile_all(folder: Path | None = None) -> None:
    """From now on machine code. Cost: some 20 s of CPU where none is kept yet, else half a second; nothing the
    second time.

    It is kept beside the source or in the user's cache folder, else in `folder`, in the place of what cannot be
    read there; where all of them refuse, it is made all the same. May be called from any thread.
    """
    with _making:
        if _made:
            return
        fast = _make_and_keep(_SOURCES, folder)
        made = iter(fast)
        for source in _SOURCES:
            for name in source.entry_points:  # at once for everybody: it calls none but those made with it
                setattr(source.module, name, _code_of(next(made)))
        _made.extend(fast)


def wanted(nodes: int) -> bool:
    """Whether so many nodes are worth it, and it is not made."""
    return nodes >= WORTH_COMPILING and not _made


def want(nodes: int) -> None:
    """Make it now, if so many nodes are worth it."""
    if wanted(nodes):
        compile_all()


class _Source(NamedTuple):
    """A module of the planner of which machine code is made."""

    module: ModuleType
    functions: tuple[Any, ...]  # each after those that it calls
    entry_points: dict[
        str, Callable[[], tuple[Any, ...]]
    ]  # from without, each with such arguments as it gets
    fastmath: Any  # what of arithmetic may be done in another order, as numba takes it


def _make_and_keep(sources: Iterable[_Source], folder: Path | None) -> list[Any]:
    """As `_make`, kept if at all possible."""
    for anew in (False, True):
        # What is kept was cut short by a power cut: another takes its place. A full disk, no place at all: without.
        with suppress(Exception):
            return _make(sources, keep=True, anew=anew, folder=folder)
    return _make(sources, keep=False, anew=False, folder=None)


def _make(sources: Iterable[_Source], *, keep: bool, anew: bool, folder: Path | None) -> list[Any]:
    """What others call, compiled, and run once. `anew`: what is kept of these functions is forgotten.

    Raises whatever numba does, OSError for what cannot be kept.
    """
    import numba  # a large library, and a small fleet needs it not

    made = []
    for source in sources:
        # Copies in names of their own: until all is made, the originals go on being called by others.
        names = dict(vars(source.module))
        for function in source.functions:
            plain = FunctionType(function.__code__, names, function.__name__)
            plain.__annotations__ = {}
            decorate = numba.njit(cache=keep, nogil=True, fastmath=source.fastmath)
            fast = names[function.__name__] = _decorated(numba, decorate, plain, folder if keep else None)
            if anew:
                fast._cache.flush()
        for name, arguments in source.entry_points.items():
            names[name](*arguments())
            made.append(names[name])
    return made


def _code_of(compiled: Any) -> Any:
    """The code itself. Through numba a call first looks at the types of forty arrays, which takes longer than many
    a decision; they are always those of `_Source.entry_points` (tested), as nobody but the planner makes them.
    """
    signatures = getattr(compiled, "signatures", ())  # none where numba is told to make no code
    return compiled.overloads[signatures[0]].entry_point if signatures else compiled


def _decorated(numba: Any, decorate: Any, function: FunctionType, folder: Path | None) -> Any:
    try:
        return decorate(function)
    except RuntimeError:  # neither the source's folder nor the user's can be written
        if folder is None:
            raise
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        numba.config.CACHE_DIR = str(folder)
        return decorate(function)


def _no_rows() -> tuple[Any, ...]:
    """For `lightest`: there is no row to look at."""
    ints = np.zeros(0, dtype=np.int64)
    floats, table, cube = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0))
    typical = kernels.Typical(0, table, table, ints, floats, floats, floats, table, table, False, floats)
    tables = kernels.Tables(table, cube, table, floats)
    weighed = kernels.Weighed(kernels.room_for(0, 0), typical, tables)
    asked = kernels.Asked(0, 0, 0, 0.0, 0.0, 0.0, 0)
    losses = kernels.Losses(ints, floats, ints)
    return np.zeros((0, 3), dtype=np.int64), 0, asked, Rows.empty(0, 0), weighed, losses


def _one_job() -> tuple[Any, ...]:
    """For `share_out`: one model, and no room."""
    return np.zeros((1, 1)), np.ones(1), np.zeros(1)


_SOURCES: Final = (
    _Source(
        kernels,
        (
            kernels._worth,
            kernels._work_out_rooms,
            kernels._host,
            kernels._whole,
            kernels._share,
            kernels._same,
            kernels._changed,
            kernels.lightest,
        ),
        {"lightest": _no_rows},
        {"reassoc", "nsz", "contract"},
    ),
    _Source(
        market_kernels,
        (
            market_kernels._prices,
            market_kernels._rounded,
            market_kernels._fill,
            market_kernels._ring,
            market_kernels._change_places,
            market_kernels.share_out,
        ),
        {"share_out": _one_job},
        False,
    ),
)
