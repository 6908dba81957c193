"""Following a job's output: what Ctrl-C leaves behind."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from suanli.cli.following import print_records
from suanli.client.types import LogRecord


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_leaves_no_lock_of_the_http_library_held(capsys: pytest.CaptureFixture[str]) -> None:
    lock = threading.Lock()

    @contextmanager
    def interrupted_as_it_is_taken() -> Iterator[None]:
        lock.acquire()
        os.kill(os.getpid(), signal.SIGINT)  # in the main thread it is raised here, and nobody has to release
        yield
        lock.release()

    def records() -> Iterator[LogRecord]:
        with interrupted_as_it_is_taken():
            pass
        yield LogRecord(attempt=1, rank=0, stream="stdout", offset=0, end=2, text="1\n")

    with pytest.raises(KeyboardInterrupt):
        print_records(records(), prefix=False, raw=False, as_json=False)
    assert lock.acquire(timeout=5), "closing the client would wait for it for ever"


def test_what_ends_the_output_is_raised_where_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def records() -> Iterator[LogRecord]:
        yield LogRecord(attempt=1, rank=0, stream="stdout", offset=0, end=2, text="1\n")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        print_records(records(), prefix=False, raw=False, as_json=False)
    assert capsys.readouterr().out == "1\n"
