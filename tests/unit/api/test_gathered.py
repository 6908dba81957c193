"""Calls that come together are answered together, and each gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from scheduler.storage.engine import DatabaseAway
from scheduler.storage.gathered import Gathered


class Work:
    """Doubles numbers; holds every batch until the gate opens."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(batch))
        await self.gate.wait()
        if 13 in batch:
            raise ValueError("13 is refused by the whole statement")
        if 99 in batch:
            raise DatabaseAway("gone")
        return [LookupError(str(number)) if number < 0 else 2 * number for number in batch]


async def test_what_comes_at_once_is_one_piece_and_what_comes_during_its_work_the_next() -> None:
    work = Work()
    gathered = Gathered(work, most=3)
    first = asyncio.gather(gathered(0), gathered(1))
    while not work.batches:
        await asyncio.sleep(0)
    rest = [gathered(number) for number in (2, 3, 4, 5)]
    work.gate.set()
    assert await asyncio.gather(first, *rest) == [[0, 2], 4, 6, 8, 10]
    assert work.batches == [[0, 1], [2, 3, 4], [5]]


async def test_a_piece_is_bounded_by_the_size_of_what_is_asked_and_one_too_large_goes_alone() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work, most=5, size=lambda number: number)
    assert await asyncio.gather(*map(gathered, (2, 3, 1, 8, 4))) == [4, 6, 2, 16, 8]
    assert work.batches == [[2, 3], [1], [8], [4]]


async def test_no_work_begins_on_nothing_where_another_piece_took_what_came() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work, at_once=2)
    assert await asyncio.gather(*map(gathered, range(6))) == [0, 2, 4, 6, 8, 10]
    assert [] not in work.batches


async def test_calls_one_after_the_other_are_all_answered() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work)
    async with asyncio.timeout(10):
        for number in range(100):
            assert await gathered(number if number not in (13, 99) else 0) is not None


async def test_an_answer_that_is_an_exception_is_its_callers_alone() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work)
    answers = await asyncio.gather(gathered(1), gathered(-1), gathered(2), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], LookupError)


async def test_one_that_spoils_the_whole_is_refused_alone_when_each_is_tried_again() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work)
    answers = await asyncio.gather(*map(gathered, (1, 13, 2)), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], ValueError)
    assert work.batches == [[1, 13, 2], [1], [13], [2]]


async def test_while_the_database_is_away_nothing_is_tried_again() -> None:
    work = Work()
    work.gate.set()
    gathered = Gathered(work)
    answers = await asyncio.gather(*map(gathered, (1, 99)), return_exceptions=True)
    assert all(isinstance(answer, DatabaseAway) for answer in answers)
    assert work.batches == [[1, 99]]


async def test_a_caller_that_goes_away_takes_nobody_along() -> None:
    work = Work()
    gathered = Gathered(work)
    gone, staying = gathered(1), gathered(2)
    await asyncio.sleep(0)
    gone.cancel()
    work.gate.set()
    assert await staying == 4
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await gathered(3) == 6


async def test_no_more_pieces_run_at_once_than_allowed() -> None:
    work = Work()
    gathered = Gathered(work, most=1, at_once=2)
    waiting = [gathered(number) for number in range(4)]
    await asyncio.sleep(0)
    assert work.batches == [[0], [1]]
    work.gate.set()
    assert await asyncio.gather(*waiting) == [0, 2, 4, 6]


async def test_what_is_closed_ends_what_is_under_way_and_keeps_nobody_waiting() -> None:
    work = Work()
    gathered = Gathered(work, most=1)
    under_way, waiting = gathered(1), gathered(2)
    while not work.batches:
        await asyncio.sleep(0)
    await gathered.close()
    assert under_way.cancelled()
    assert waiting.cancelled()
    work.gate.set()
    await asyncio.sleep(0)
    assert work.batches == [[1]]
