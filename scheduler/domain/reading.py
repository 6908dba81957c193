"""Strict reading of JSON-like values that people wrote: every problem with its path, unknown keys refused.

A reader never stops at the first problem: the caller gets all of them in one answer.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from scheduler.domain.errors import FieldProblem, Invalid

_SHOWN_CHARACTERS = 60


class Reader:
    """Reads one mapping; shares the list of problems with its children."""

    def __init__(self, value: object, path: str = "", problems: list[FieldProblem] | None = None) -> None:
        self.path = path
        self.problems: list[FieldProblem] = [] if problems is None else problems
        self._seen: set[str] = set()
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            self._value: Mapping[str, Any] = value
        else:
            self._value = {}
            self.problem(path or "(root)", value, "an object with text keys")

    def problem(self, field: str, got: object, want: str) -> None:
        """Notes a problem."""
        self.problems.append(FieldProblem(field, show(got), want))

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        return self._value.get(key) is not None

    def raw(self, key: str) -> Any:
        """The value as it came (None when absent); counts as known."""
        self._seen.add(key)
        return self._value.get(key)

    def text(
        self, key: str, default: str | None = None, *, pattern: str | None = None, want: str = ""
    ) -> str:
        """Text that matches the whole pattern; required unless there is a default."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (pattern is not None and re.fullmatch(pattern, value) is None):
            self.problem(self.at(key), value, want or "text")
            return default or ""
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of a closed list."""
        allowed = list(choices)
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if value not in allowed:
            self.problem(self.at(key), value, "one of " + ", ".join(allowed))
            return default or allowed[0]
        return str(value)

    def integer(self, key: str, default: int | None = None, *, low: int, high: int) -> int:
        """A whole number in [low, high]; required unless there is a default."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.problem(self.at(key), value, f"a whole number from {low} to {high}")
            return default if default is not None else low
        return value

    def optional_integer(self, key: str, *, low: int, high: int) -> int | None:
        """A whole number in [low, high], or null."""
        return self.integer(key, low=low, high=high) if self.has(key) else self.raw(key)

    def items(self, key: str) -> list[Any]:
        """A list; empty when absent."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(self.at(key), value, "a list")
            return []
        return value

    def child(self, key: str) -> "Reader":
        """A nested object; reads as empty when absent."""
        value = self.raw(key)
        return Reader({} if value is None else value, self.at(key), self.problems)

    def text_map(self, key: str, *, most: int, key_pattern: str, secret: bool = False) -> dict[str, str]:
        """A mapping of text to text, at most `most` entries; secret values are never shown in a problem."""
        value = self.raw(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(self.at(key), type(value).__name__, "an object")
            return {}
        if len(value) > most:
            self.problem(self.at(key), f"{len(value)} entries", f"at most {most} entries")
            return {}
        result: dict[str, str] = {}
        for name, item in value.items():
            if not isinstance(name, str) or re.fullmatch(key_pattern, name) is None:
                self.problem(self.at(key), name, f"names that match {key_pattern}")
            elif not isinstance(item, str) or "\0" in item:
                shown = type(item).__name__ if secret else item
                self.problem(f"{self.at(key)}.{name}", shown, "text")
            else:
                result[name] = item
        return result

    def refuse_unknown(self) -> None:
        """Notes every key that nobody asked for."""
        for key in self._value:
            if key not in self._seen:
                known = ", ".join(sorted(self._seen))
                self.problems.append(FieldProblem(self.at(key), "an unknown field", f"one of: {known}"))

    def finish(self) -> None:
        """Refuses unknown keys of this object and raises Invalid when anything was wrong."""
        self.refuse_unknown()
        if self.problems:
            raise Invalid(self.problems)


def show(value: object) -> str:
    """A value as it is shown in a problem: short."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
