"""How a process writes what it does: one JSON object a line, or coloured lines for a person at a terminal."""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import structlog

_HIDDEN: Final = "[hidden]"
# Names of fields whose values nobody should find in a log.
_SECRET_NAME = re.compile(r"passw|secret|token|authorization|cookie|api_key$|private|salt", re.IGNORECASE)
# What a secret looks like wherever it stands: API keys, join tokens, passwords in URLs, PEM keys.
_SECRET_TEXT = re.compile(
    r"s(?:k|jt)_[A-Za-z0-9_-]{20,}"
    r"|(?<=://)(?P<user>[^:/@\s]*):[^@/\s]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)

# Where none of these stands nothing above is found, and looking for them costs a tenth of it.
_MAY_HOLD_SECRET = re.compile(r"sk_|sjt_|://|-----BEGIN ")


def configure(process: str, level: str = "info", style: str = "auto") -> None:
    """Set up structlog and the standard library's logging for this process; both write to stderr."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [structlog.processors.add_log_level, _completed(process)]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(_written)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(
        level=max(logging.WARNING, getattr(logging, level.upper())), handlers=[handler], force=True
    )


def _completed(process: str) -> structlog.typing.Processor:
    """Adds when and by whom, and takes secrets out: one step, as a line is written for every request."""

    def complete(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = datetime.now(UTC).isoformat()[:-6] + "Z"
        event.setdefault("process", process)
        if "exc_info" in event:
            # As text: a structured traceback would carry local variables, and those may be secrets.
            event = structlog.processors.format_exc_info(logger, method, event)
        return hide_secrets(logger, method, event)

    return complete


def _written(event: Any, default: Any) -> str:
    """A line of the log. What is no JSON is written as its repr, half a surrogate pair as its escape."""
    try:
        return orjson.dumps(event, default, orjson.OPT_PASSTHROUGH_DATACLASS).decode()
    except (TypeError, ValueError):
        return json.dumps(event, default=default)


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Last of the processors: drop values by name, and secrets by shape wherever they stand."""
    for name in _secret_names(tuple(event)):
        event[name] = _HIDDEN
    for name, value in event.items():
        kind = type(value)
        if kind is str:
            if _MAY_HOLD_SECRET.search(value) is not None:
                event[name] = hide_text(value)
        elif kind is not int and kind is not float and value is not None:
            event[name] = _hide(value)
    return event


@lru_cache(maxsize=1024)
def _secret_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if _is_secret(name))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _hide(value: Any) -> Any:
    if isinstance(value, str):
        return hide_text(value)
    if isinstance(value, dict):
        return {name: _HIDDEN if _is_secret(str(name)) else _hide(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide(inner) for inner in value]
    return value


def hide_text(text: str) -> str:
    """The text without anything that looks like a secret of ours."""
    return _SECRET_TEXT.sub(lambda found: f"{found['user']}:{_HIDDEN}" if found["user"] else _HIDDEN, text)
