"""Several processes that serve the API on one port."""

import os
from contextlib import ExitStack
from math import inf
from typing import Final

import structlog

from scheduler import logs
from scheduler.api.listening import listen
from scheduler.process import announcement_path, fail, sentence_of, write_announcement
from scheduler.settings import Settings
from scheduler.up.children import Child, ChildFailed, Children
from scheduler.up.signals import Signals, StopRequested

_PROCESSORS_A_WORKER: Final = 4
_MOST_BY_ITSELF: Final = 4

_log = structlog.get_logger(__name__)


def usual_workers() -> int:
    """How many `up` takes: it shares the machine with PostgreSQL and three processes more."""
    return max(1, min(_MOST_BY_ITSELF, len(os.sched_getaffinity(0)) // _PROCESSORS_A_WORKER))


def serve_api(settings: Settings, workers: int) -> int:
    """Serve with so many processes until SIGTERM or SIGINT; return the exit status.

    Each has a listening socket of its own, which is ours: when one ends, connections wait in its queue until it
    was started again, and those of the others go on.
    """
    logs.configure("api", settings.log_level, settings.log_format)
    with Signals() as signals, ExitStack() as stack:
        stack.callback(announcement_path(settings.run_folder, "api").unlink, missing_ok=True)
        try:
            children = Children(_children(settings, workers, stack), signals, _log.warning)
            stack.callback(children.stop)
            children.start()
            announced = children.ready(inf)  # each waits for its database
            first = announced["api-1"]
            said = {"pid": os.getpid(), "url": first["url"], "address": first["address"], "workers": workers}
            write_announcement(settings.run_folder, "api", said)
            while True:
                signals.sleep(children.watch())
        except StopRequested:
            return 0
        except (ChildFailed, OSError) as error:
            sentence = sentence_of(error)
            stack.pop_all().close()
            write_announcement(settings.run_folder, "api", {"pid": os.getpid(), "error": sentence})
            return fail(sentence)


def _children(settings: Settings, workers: int, stack: ExitStack) -> list[Child]:
    port = settings.api_port
    made = []
    for number in range(1, workers + 1):
        listener = stack.enter_context(listen(settings.host, port, shared=True))
        port = listener.getsockname()[1]
        own = {
            "SUANLI_DATA": str(settings.data),
            "SUANLI_API_PORT": str(port),
            "SUANLI_API_WORKER": str(number),
            "SUANLI_API_SOCKET": str(listener.fileno()),
            "SUANLI_NAME": f"{settings.name}-{number}",
        }
        if settings.metrics_port:
            own["SUANLI_METRICS_PORT"] = str(settings.metrics_port + number - 1)
        environment = os.environ | own
        sockets = (listener.fileno(),)
        made.append(
            Child(f"api-{number}", environment, settings.run_folder, None, command="api", sockets=sockets)
        )
    return made
