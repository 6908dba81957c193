"""Running one process of the control plane: signals, announcement, exporter, and an end that is certain."""

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

from scheduler import logs, metrics
from scheduler.domain.issuers import is_loopback
from scheduler.settings import Settings, SettingsError

Announce = Callable[[dict[str, str]], None]
Serve = Callable[[asyncio.Event, Announce], Coroutine[Any, Any, None]]
# A process that was asked to stop is gone after this, whatever hangs in it.
STOP_TIMEOUT_S: Final = 20.0
FAILED: Final = 1
# It was typed wrongly, or a file or a setting that it names cannot be used.
MISUSED: Final = 2
PROGRAM: Final = "SUANLI_PROGRAM"  # names the variable with what was typed, where that was another program
_LEAST_TOKEN_CHARACTERS: Final = 16  # as agents ask of theirs


def _fast_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


# Thousands of requests a second are worth another event loop, and so are windows, which go through the gateway's and
# the ledger's hands in pieces of a few KiB; the others wait for PostgreSQL anyway.
LOOPS: Final[Mapping[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "api": _fast_loop,
    "gateway": _fast_loop,
    "ledger": _fast_loop,
}

# A batch of windows or of jobs makes tens of thousands of objects, none of them in cycles: looking for cycles after
# every 700, as Python does, is a twelfth of what it costs to take a window in, and a quarter of what a job costs the
# controller, which keeps it.
_COLLECT_AFTER: Final[Mapping[str, int]] = {"gateway": 50_000, "ledger": 50_000, "controller": 50_000}

_log = structlog.get_logger(__name__)


def runner_of(process: str) -> asyncio.Runner:
    """What the coroutines of a process run on: its loop, with the pace of its collector set."""
    if process in _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER[process], *gc.get_threshold()[1:])
    return asyncio.Runner(loop_factory=LOOPS.get(process))


def announcement_path(run_folder: Path, process: str) -> Path:
    """Where a process says that it serves (or why it does not)."""
    return run_folder / f"{process}.json"


def write_announcement(run_folder: Path, process: str, content: dict[str, Any]) -> None:
    """Replace the announcement as a whole; readers never see half of it."""
    path = announcement_path(run_folder, process)
    run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def run(
    process: str,
    settings: Settings,
    serve: Serve,
    database_url: str | None,
    stop_timeout_s: float = STOP_TIMEOUT_S,
    *,
    name: str | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status. It announces itself as `name`, else as `process`.

    With a `database_url`, first wait until that database answers, and refuse one that was not migrated.
    """
    logs.configure(process, settings.log_level, settings.log_format)
    path = announcement_path(settings.run_folder, name or process)
    try:
        path.unlink(missing_ok=True)
        with runner_of(process) as runner:
            runner.run(_serve(process, name or process, settings, serve, database_url, stop_timeout_s))
    except Exception as error:  # noqa: BLE001 - the last place where an error can be told to anybody
        sentence = sentence_of(error)
        _log.error("process_failed", reason=sentence, exc_info=not _expected(error))
        _announce_failure(settings, name or process, sentence)
        return MISUSED if isinstance(error, SettingsError) else FAILED
    path.unlink(missing_ok=True)
    return 0


async def _serve(
    process: str,
    name: str,
    settings: Settings,
    serve: Serve,
    database_url: str | None,
    stop_timeout_s: float,
) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop, stop_timeout_s)
    if database_url is not None:
        await _until_current(database_url, stop)
    if stop.is_set():
        return
    metrics.describe_build(process, asyncio.get_running_loop())
    with exporter_of(settings) as out:

        def announce(addresses: dict[str, str]) -> None:
            more = {} if out is None else {"metrics": out.url}
            write_announcement(settings.run_folder, name, {"pid": os.getpid(), **addresses, **more})

        await serve(stop, announce)


def exporter_of(settings: Settings) -> AbstractContextManager[metrics.Exporter | None]:
    """What serves the metrics, if anything shall. Raises SettingsError where a network could read them, and nobody is
    asked for a token.
    """
    if settings.metrics_port is None:
        return nullcontext()
    host = settings.metrics_host or settings.host
    token = _metrics_token(settings.metrics_token_file)
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"the metrics on {host} are open to others than this host: SUANLI_METRICS_TOKEN_FILE is needed, "
            "or SUANLI_METRICS_HOST=127.0.0.1"
        )
    return metrics.Exporter(host, settings.metrics_port, token)


def _metrics_token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"SUANLI_METRICS_TOKEN_FILE {path} cannot be read: {sentence_of(error)}"
        ) from None
    if len(token) < _LEAST_TOKEN_CHARACTERS or not token.isprintable() or " " in token:
        raise SettingsError(
            f"SUANLI_METRICS_TOKEN_FILE {path} wants one word of {_LEAST_TOKEN_CHARACTERS} or more characters"
        )
    return token


def _stop_on_signals(stop: asyncio.Event, timeout_s: float) -> None:
    """Ask, and make sure: what hangs may be the loop itself, so neither handler nor deadline needs it."""
    loop = asyncio.get_running_loop()
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set() or loop.is_closed():
            return
        asked.set()
        deadline = threading.Timer(timeout_s, os._exit, [FAILED])
        deadline.daemon = True
        deadline.start()
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


async def _until_current(database_url: str, stop: asyncio.Event) -> None:
    """Wait for a database that is away; refuse one that was not migrated."""
    from scheduler.storage.engine import Database, DatabaseAway
    from scheduler.storage.migrate import require_current

    database = Database(database_url, "start", pool_size=1)
    pause_s = 0.2
    try:
        while not stop.is_set():
            try:
                await require_current(database)
            except DatabaseAway as error:
                _log.warning("waits_for_database", reason=logs.hide_text(str(error)))
                await _pause(stop, pause_s)
                pause_s = min(pause_s * 2, 5.0)
            else:
                return
    finally:
        await database.dispose()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    waiting: Awaitable[bool] = asyncio.wait_for(stop.wait(), seconds)
    try:
        await waiting
    except TimeoutError:
        return


def _announce_failure(settings: Settings, process: str, sentence: str) -> None:
    try:
        write_announcement(settings.run_folder, process, {"pid": os.getpid(), "error": sentence})
    except OSError as error:
        _log.error("cannot_announce", reason=str(error))


def sentence_of(error: BaseException) -> str:
    """One line for a person, without secrets."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return logs.hide_text(f"{place}{error.strerror}")
    lines = str(error).strip().splitlines()
    return logs.hide_text(lines[0] if lines else type(error).__name__)


def _expected(error: BaseException) -> bool:
    """Errors whose sentence says it all; others are shown with where they came from."""
    from scheduler.storage.migrate import SchemaTooOld

    return isinstance(error, (OSError, SettingsError, SchemaTooOld))


def fail(sentence: str, code: int = FAILED) -> int:
    """Tell the person at the terminal and return the exit status."""
    from suanli.sentences.words import said

    sys.stderr.write(f"{os.environ.get(PROGRAM, 'scheduler')}: {said(sentence)}\n")
    return code
