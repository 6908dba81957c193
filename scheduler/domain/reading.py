"""Strict reading of JSON-like values that people wrote: every problem with its path, unknown keys refused.

A reader never stops at the first problem: the caller gets all of them in one answer.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from scheduler.domain.errors import UNKNOWN_FIELD, FieldProblem, Invalid

_SHOWN_CHARACTERS = 60
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
_DURATION = re.compile(r"\d{1,9}|(?=\d)(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?", re.ASCII)
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_AMOUNT = re.compile(r"\d{1,12}(?:KiB|MiB|GiB|TiB)", re.ASCII)
# 16 whole digits of nano-CNY times a year of milliseconds still fits in the money columns.
_DECIMAL = re.compile(r"(?P<whole>\d{1,9})(?:\.(?P<part>\d+))?", re.ASCII)
_PART = re.compile(r"(\d+)([A-Za-z]*)", re.ASCII)

_TEXT = frozenset({str})

T = TypeVar("T")


def told_bytes(amount: int) -> str:
    """As `Reader.bytes` reads it: in the largest unit of which it is a whole number (`16GiB`), else in bytes."""
    units = [unit for unit, size in _BYTES.items() if amount and amount % size == 0]
    return f"{amount // _BYTES[units[-1]]}{units[-1]}" if units else str(amount)


class Reader:
    """Reads one mapping; shares the list of problems with its children.

    `path`: where it is, as problems name it; `file.yaml: ` for the whole of a file.
    """

    def __init__(self, value: object, path: str = "", problems: list[FieldProblem] | None = None) -> None:
        self.path = path
        self.problems: list[FieldProblem] = [] if problems is None else problems
        self._seen: set[str] = set()
        self._children: list[Reader] = []
        if isinstance(value, Mapping) and _TEXT.issuperset(map(type, value)):
            self._value: Mapping[str, Any] = value
        else:
            self._value = {}
            self.problem(path.removesuffix(": ") or "(root)", value, "an object with text keys")

    def problem(self, field: str, got: object, want: str) -> None:
        """Notes a problem."""
        self.problems.append(FieldProblem(field, show(got), want))

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path and not self.path.endswith(": ") else self.path + key

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

    def optional_text(self, key: str, *, pattern: str | None = None, want: str = "") -> str | None:
        """Text that matches the whole pattern, or null."""
        return self.text(key, pattern=pattern, want=want) if self.has(key) else self.raw(key)

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

    def boolean(self, key: str, default: bool | None = None) -> bool | None:
        """true or false; the default when absent."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(self.at(key), value, "true or false")
            return default
        return value

    def seconds(self, key: str, default: int | None = None, *, low: int, high: int) -> int | None:
        """A length of time: whole seconds, also as text, or text such as 90s, 30m, 1h30m, 2d."""
        want = "whole seconds, or whole numbers with units, like 1h30m"
        return self._measured(key, default, _DURATION, _SECONDS, low, high, want)

    def bytes(self, key: str, *, low: int, high: int) -> int | None:
        """An amount of memory: whole bytes, or text such as 512MiB, 16GiB."""
        return self._measured(key, None, _AMOUNT, _BYTES, low, high, "bytes, or text like 16GiB", told_bytes)

    def _measured(
        self,
        key: str,
        default: int | None,
        pattern: re.Pattern[str],
        units: Mapping[str, int],
        low: int,
        high: int,
        want: str,
        told: Callable[[int], str] = str,
    ) -> int | None:
        value = self.raw(key)
        if value is None:
            return default
        number: object = value
        if isinstance(value, str) and pattern.fullmatch(value):
            parts = _PART.findall(value)
            number = sum(int(amount) * units[unit] for amount, unit in parts)
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            self.problem(self.at(key), value, f"{want} ({told(low)} to {told(high)})")
            return default
        return number

    def decimal(self, key: str, places: int) -> int:
        """A decimal number as text, as a whole number of its smallest unit (10^-places). Never a float."""
        value = self.raw(key)
        match = _DECIMAL.fullmatch(value) if isinstance(value, str) else None
        part = "" if match is None else match["part"] or ""
        if match is None or len(part) > places:
            want = f"{want_decimal(value)}, with at most {places} decimal places"
            got = "nothing" if value is None else repr(value)[:60]
            self.problems.append(FieldProblem(self.at(key), got, want))
            return 0
        return int(match["whole"] + part.ljust(places, "0"))

    def each(
        self,
        key: str,
        read: "Callable[[Reader], T]",
        *,
        most: int | None = None,
        full: Callable[[Any], Any] = lambda item: item,
    ) -> list[T]:
        """What `read` makes of each of a list of objects, at most `most`; what it did not read is refused.

        `full`: the object that an item stands for, where people may write less.
        """
        where = self.at(key)
        found = []
        for number, item in enumerate(self.items(key) if most is None else self.some(key, most=most)):
            child = Reader(full(item), f"{where}[{number}]", self.problems)
            found.append(read(child))
            child.refuse_unknown()
        return found

    def some(self, key: str, *, most: int) -> list[Any]:
        """A list of at most `most` items; empty when absent."""
        items = self.items(key)
        if len(items) > most:
            self.problem(self.at(key), f"{len(items)} items", f"at most {most} items")
            return []
        return items

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
        child = Reader({} if value is None else value, self.at(key), self.problems)
        self._children.append(child)
        return child

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
        """Notes every key that nobody asked for, and where it would be right if that is a level deeper."""
        for key in self._value:
            if key not in self._seen:
                want = "one of: " + ", ".join(sorted(self._seen))
                deeper = next((child.at(key) for child in self._children if key in child._seen), None)
                want = want if deeper is None else f"{deeper}? ({want})"
                self.problems.append(FieldProblem(self.at(key), UNKNOWN_FIELD, want))

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


def want_decimal(got: object) -> str:
    """What a decimal number is; who wrote text, perhaps on a command line, is not told of quotes."""
    return (
        "a decimal number like 12.50" if isinstance(got, str) else 'a decimal number in quotes, like "12.50"'
    )
