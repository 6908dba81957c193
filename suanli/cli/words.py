"""What the command line says to people, in English or Chinese by the locale.

English stands in the code and is the key. A key may have {places}: finished sentences are recognised by it, whoever
made them (a command, the client, the server), and what stands in a place is translated in turn. What has no
translation is said in English. Output for programs (`--json`) is not translated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache

_VARIABLES = ("SUANLI_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
_PLACE = re.compile(r"\{(\w+)\}")
# A key with less text of its own than this would take other people's words for ours; `word` alone uses it.
_LEAST_CHARACTERS = 7
# A sentence within a sentence within a sentence; nobody nests deeper.
_MOST_DEEP = 3
PROGRAM = "suanli: "
# Longer texts are no sentences of ours.
_MOST_CHARACTERS = 2_000


def is_chinese(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the first locale variable that is set names Chinese."""
    environment = os.environ if environment is None else environment
    for name in _VARIABLES:
        value = environment.get(name)
        if value:
            return value.lower().startswith("zh")
    return False


def word(english: str, **values: object) -> str:
    """The sentence in the reader's language, its {places} filled in."""
    text = _table().get(english, english) if is_chinese() else english
    return text.format(**values) if values else text


def said(text: str) -> str:
    """A finished sentence, or several in lines, in the reader's language."""
    if not is_chinese() or len(text) > _MOST_CHARACTERS:
        return text
    lines = text.removeprefix(PROGRAM).split("\n")
    return (PROGRAM if text.startswith(PROGRAM) else "") + "\n".join(
        _chinese(line, _MOST_DEEP) for line in lines
    )


def _chinese(text: str, deep: int) -> str:
    bare = text.strip().removeprefix("- ")
    if not bare or not any("a" <= c.lower() <= "z" for c in bare):
        return text
    found = _table().get(bare)
    if found is None and deep:
        for pattern, chinese in _patterns():
            match = pattern.fullmatch(bare)
            if match is not None:
                inner = {name: _chinese(value, deep - 1) for name, value in match.groupdict().items()}
                found = _PLACE.sub(lambda place: inner[place[1]], chinese)  # noqa: B023 - called at once
                break
    return text if found is None else text.replace(bare, found, 1)


@cache
def _table() -> Mapping[str, str]:
    from suanli.cli.words_zh import ZH
    from suanli.cli.words_zh_server import ZH_SERVER

    return {**ZH, **ZH_SERVER}


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Keys with places, those with the most text of their own first: they say the most."""
    keys = [key for key in _table() if recognisable(key)]
    keys.sort(key=lambda key: -len(_PLACE.sub("", key)))
    return [(pattern_of(key), _table()[key]) for key in keys]


def recognisable(key: str) -> bool:
    """Whether finished sentences are recognised by a key: it has places, and enough beside them."""
    places = _PLACE.findall(key)
    return bool(places) and ("number" in places or len(_PLACE.sub("", key)) >= _LEAST_CHARACTERS)


def pattern_of(key: str) -> re.Pattern[str]:
    """What recognises the sentences of a key; a place called `number` takes figures alone."""
    text = ""
    for at, part in enumerate(_PLACE.split(key)):
        anything = r"[\d.,]+" if part == "number" else ".+?"
        text += f"(?P<{part}>{anything})" if at % 2 else re.escape(part)
    return re.compile(text)
