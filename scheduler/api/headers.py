"""Headers of a request where each microsecond counts: Starlette's mapping costs ten times the look itself."""

from starlette.types import Scope


def header(scope: Scope, name: bytes, default: str | None = None) -> str | None:
    """The first header of a name, which is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return default
