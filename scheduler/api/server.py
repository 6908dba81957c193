"""Serving the application until told to stop."""

import asyncio
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from scheduler.api.app import create_app
from scheduler.api.config import ApiConfig
from scheduler.api.corking import CorkedHttp
from scheduler.api.listening import listen
from scheduler.api.state import Api

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Uvicorn that leaves signals to the program: `stop` comes from there."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


async def serve(config: ApiConfig, stop: asyncio.Event, announce: Callable[[dict[str, str]], None]) -> None:
    """Serve until `stop` is set; `announce` gets `{"url": ..., "address": "host:port"}` once it is possible.

    Raises OSError when the address cannot be had.
    """
    if config.socket is None:
        listener = listen(config.host, config.port)
    else:
        listener = socket.socket(fileno=config.socket)
        listener.setblocking(False)
    port = listener.getsockname()[1]
    address = f"[{config.host}]:{port}" if ":" in config.host else f"{config.host}:{port}"
    app = create_app(config)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            http=CorkedHttp,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(config.drain_s)),
            timeout_keep_alive=30,
            proxy_headers=False,
            ws="websockets-sansio",
            # What a message may hold; a terminal or a port sends at most 64 KiB at once.
            ws_max_size=1 << 20,
            ws_per_message_deflate=False,
        )
    )
    running = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        while not server.started and not running.done():
            await asyncio.sleep(0.005)
        if not running.done():
            _log.info("api_listening", address=address)
            # What is there now stays: the collector need not walk it in the middle of a request.
            gc.collect()
            gc.freeze()
            announce({"url": f"http://{address}", "address": address})
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        api: Api = app.state.api
        api.pulse.close()  # streams end first, else the drain would wait for them
        server.should_exit = True
        await running
        listener.close()
