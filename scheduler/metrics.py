"""The exporter: what a process counts, for Prometheus to fetch. Each room defines its own metrics."""

import platform
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Self

from prometheus_client import Gauge, start_http_server

BUILD_INFO = Gauge("suanli_build_info", "1 for the running version.", ["process", "version", "python"])


def product_version() -> str:
    """Version of the installed control plane."""
    try:
        return version("suanli-scheduler")
    except PackageNotFoundError:
        return "unknown"


def describe_build(process: str) -> None:
    """Let the version be seen beside the other metrics."""
    BUILD_INFO.labels(process, product_version(), platform.python_version()).set(1)


class Exporter:
    """A thread that serves /metrics, without passwords: keep it on loopback or inside a closed network."""

    def __init__(self, host: str, port: int) -> None:
        """Listen. Port 0 takes any free one. Raises OSError."""
        self._server, self._thread = start_http_server(port, addr=host)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
