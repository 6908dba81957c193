"""Many small pieces of work on a few threads, not far ahead of what is done."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

AT_ONCE = 6


def run_bounded(pool: ThreadPoolExecutor, work: Iterator[Callable[[], None]]) -> None:
    """Run all, a few ahead; the first that fails ends it."""
    waiting: set[Future[None]] = set()
    try:
        for call in work:
            waiting.add(pool.submit(call))
            if len(waiting) >= 2 * AT_ONCE:
                waiting = settled(waiting)
        while waiting:
            waiting = settled(waiting)
    finally:
        for future in waiting:
            future.cancel()


def settled(waiting: set["Future[None]"]) -> set["Future[None]"]:
    """Those that are not done yet, when at least one is. Raises what one raised."""
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return rest
