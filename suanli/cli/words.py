"""What the command line says to people, in English or Chinese by the locale.

English stands in the code and is the key; what has no translation is said in English. Output for programs
(`--json`) and the server's own sentences are not translated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from suanli.cli.words_zh import ZH

_VARIABLES = ("SUANLI_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


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
    text = ZH.get(english, english) if is_chinese() else english
    return text.format(**values) if values else text
