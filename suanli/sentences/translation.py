"""A table of sentences in two languages, and how finished sentences are recognised by it.

A key may have {places}: a sentence is recognised by the text around them, whoever made it, and what stands in a place
is translated in turn. One word alone may be a name or was typed, and stays, but in the places that hold words of ours.
What no key recognises stays as it is.
"""

import re
from collections.abc import Mapping
from functools import cached_property

_PLACE = re.compile(r"\{(\w+)\}")
_SPACED_PLACE = re.compile(r"(?P<space>(?<=[\u4e00-\u9fff]) ?|)\{(?P<name>\w+)\}")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_BEHIND_A_NAME = "\0"
_NAME_AND_CHINESE = re.compile(r"(?<=[A-Za-z0-9])\0(?=[\u4e00-\u9fff])")
# A key with less text of its own than this would take other people's words for ours.
_LEAST_CHARACTERS = 7
_HOLD_OUR_WORDS = frozenset(
    {"action", "kind", "period", "priority", "role", "roles", "state", "want", "what", "why"}
)
# A sentence within a sentence within a sentence, behind the job of a batch; nobody nests deeper.
_MOST_DEEP = 4
# Of a longer one only the whole is looked up: its text is anybody's, and the time to recognise it grows by the square.
_MOST_CHARACTERS = 1_000


class Translation:
    """`table` has the English as key. Of a sentence: O(keys), with what it holds in turn."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table

    def exactly(self, key: str) -> str:
        """The translation of a key itself; the key where there is none."""
        return self._table.get(key, key)

    def of(self, text: str, deep: int = _MOST_DEEP, *, name: bool = False) -> str:
        """A finished sentence in the other language; one word alone stays where it may be a `name`."""
        bare = text.strip().removeprefix("- ")
        if not bare or not any("a" <= c.lower() <= "z" for c in bare):
            return text
        found = None if name and " " not in bare else self._table.get(bare)
        if found is None and deep and len(bare) <= _MOST_CHARACTERS:
            for pattern, other in self._patterns:
                match = pattern.fullmatch(bare)
                if match is not None:
                    inner = {
                        place: self._inside(place, value, deep - 1)
                        for place, value in match.groupdict().items()
                    }
                    found = _filled(other, match.groupdict(), inner)
                    break
        return text if found is None else text.replace(bare, found, 1)

    def _inside(self, place: str, text: str, deep: int) -> str:
        """What stands in a place; of several roles, or nodes with their devices, each by itself."""
        if place in {"placed", "roles"}:
            return "、".join(self.of(role, deep) for role in text.split(", "))
        return self.of(text, deep, name=place not in _HOLD_OUR_WORDS)

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Keys with places, those with the most text of their own first: they say the most."""
        keys = [key for key in self._table if recognisable(key)]
        keys.sort(key=lambda key: -len(_PLACE.sub("", key)))
        return [(pattern_of(key), self._table[key]) for key in keys]


def _filled(other: str, given: Mapping[str, str], inner: Mapping[str, str]) -> str:
    """The places filled in, with no space between Chinese and what became Chinese (or was, where words of ours stand),
    and one behind a name at its end.
    """

    def fill(place: re.Match[str]) -> str:
        text, name = inner[place["name"]], place["name"]
        became = text != given[name]
        ours = _CHINESE.match(text) and (became or name in _HOLD_OUR_WORDS)
        return (
            ("" if ours else place["space"])
            + text
            + (_BEHIND_A_NAME if became and text[-1].isascii() else "")
        )

    return _NAME_AND_CHINESE.sub(" ", _SPACED_PLACE.sub(fill, other)).replace(_BEHIND_A_NAME, "")


def recognisable(key: str) -> bool:
    """Whether finished sentences are recognised by a key: it has places, and enough beside them."""
    places = _PLACE.findall(key)
    return bool(places) and ("number" in places or len(_PLACE.sub("", key)) >= _LEAST_CHARACTERS)


def pattern_of(key: str) -> re.Pattern[str]:
    """What recognises the sentences of a key; a place called `number` takes figures alone.

    A place ends where the text behind it first stands, for good: to try all other ends too takes minutes on what
    somebody typed to that end.
    """
    before, *parts = _PLACE.split(key)
    text = re.escape(before)
    for place, behind in zip(parts[::2], parts[1::2], strict=True):
        anything = r"[\d.,]+" if place == "number" else ".+?"
        end = f"(?P<{place}>{anything}){re.escape(behind)}"
        last = place == parts[-2]
        text += end if last or not behind else f"(?>{end})"
    return re.compile(text)
