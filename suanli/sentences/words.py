"""What programs say to people, in English or Chinese by the locale.

English stands in the code and is the key (`suanli.sentences`); what has no translation is said in English. Output for
programs (`--json`) is not translated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache

from suanli.sentences import ZH_SERVER, Translation

_VARIABLES = ("SUANLI_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
PROGRAM = "suanli: "
_ONE_OF_MANY = re.compile(
    r"(?<![\w.,/-])1 (allocation|device|entr|file|firm|job|line|node|object|picture|secret|segment|task|window)"
    r"(s|ies)\b"
)
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
    text = _translation().exactly(english) if is_chinese() else english
    return one_of_many(text.format(**values)) if values else text


def said(text: str, *, chinese: bool | None = None) -> str:
    """A finished sentence, or several in lines, in the reader's language, or the one that was asked for."""
    if len(text) > _MOST_CHARACTERS:
        return text
    if not (is_chinese() if chinese is None else chinese):
        return one_of_many(text)
    lines = text.removeprefix(PROGRAM).split("\n")
    return (PROGRAM if text.startswith(PROGRAM) else "") + "\n".join(map(_translation().of, lines))


def listed(parts: Iterable[str]) -> str:
    """Several in a row, each in the reader's language."""
    return ("，" if is_chinese() else ", ").join(map(said, parts))


def one_of_many(text: str) -> str:
    """An English sentence that counts, with `1 node` and `1 entry` where there is one."""
    return _ONE_OF_MANY.sub(lambda found: f"1 {found[1]}{'y' if found[2] == 'ies' else ''}", text)


@cache
def _translation() -> Translation:
    from suanli.sentences.words_zh import ZH
    from suanli.sentences.words_zh_apart import ZH_APART
    from suanli.sentences.words_zh_evidence import ZH_EVIDENCE
    from suanli.sentences.words_zh_refusals import ZH_REFUSALS
    from suanli.sentences.words_zh_typer import ZH_TYPER

    return Translation({**ZH, **ZH_APART, **ZH_EVIDENCE, **ZH_REFUSALS, **ZH_TYPER, **ZH_SERVER})
