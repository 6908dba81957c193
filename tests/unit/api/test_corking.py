"""What is written within one step of the loop leaves in one piece, and nothing waits longer than that."""

import asyncio

from scheduler.api.corking import MOST_BYTES, Corked


class _Pipe(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written: list[bytes | None] = []  # None: closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return None in self.written

    def close(self) -> None:
        self.written.append(None)


async def test_head_and_body_leave_together_at_the_end_of_the_step() -> None:
    pipe = _Pipe()
    corked = Corked(pipe, asyncio.get_running_loop())
    corked.write(b"head ")
    corked.write(b"body")
    assert pipe.written == []
    await asyncio.sleep(0)
    corked.write(b"an event of the next step")
    await asyncio.sleep(0)
    assert pipe.written == [b"head body", b"an event of the next step"]


async def test_what_is_large_does_not_gather_and_keeps_its_order() -> None:
    pipe = _Pipe()
    corked = Corked(pipe, asyncio.get_running_loop())
    pieces = [bytes([n]) * (MOST_BYTES // 2) for n in range(7)]
    for piece in pieces:
        corked.write(piece)
    held = sum(map(len, pieces)) - sum(len(data or b"") for data in pipe.written)
    assert held <= MOST_BYTES
    await asyncio.sleep(0)
    assert b"".join(data or b"" for data in pipe.written) == b"".join(pieces)


async def test_what_was_written_leaves_before_the_end() -> None:
    pipe = _Pipe()
    corked = Corked(pipe, asyncio.get_running_loop())
    corked.write(b"goodbye")
    corked.close()
    await asyncio.sleep(0)
    assert pipe.written == [b"goodbye", None]
    assert corked.get_extra_info("peername") == ("127.0.0.1", 1)


async def test_an_answer_to_somebody_who_has_gone_is_dropped() -> None:
    pipe = _Pipe()
    corked = Corked(pipe, asyncio.get_running_loop())
    corked.write(b"answer")
    pipe.close()
    await asyncio.sleep(0)
    assert pipe.written == [None]
