"""What the command line says, in two languages."""

import ast
import string
from pathlib import Path

import pytest

from suanli.cli import words
from suanli.cli.words_zh import ZH

CLI = Path(words.__file__).parent


def said() -> set[str]:
    """Every constant that is given to `word`, and every column of a table of the jobs' commands."""
    found = set()
    for file in CLI.glob("*.py"):
        constants: dict[str, str] = {}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                constants |= {
                    target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)
                }
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "word":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_whatever_is_said_through_word_has_a_translation() -> None:
    assert said() - ZH.keys() == set()
    assert len(said()) > 8


def test_a_translation_has_the_places_of_the_original() -> None:
    assert {english for english, chinese in ZH.items() if places(english) != places(chinese)} == set()


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "SUANLI_LANG": "zh"}, True),
        ({}, False),
    ],
)
def test_the_locale_chooses_the_language(environment: dict[str, str], chinese: bool) -> None:
    assert words.is_chinese(environment) is chinese


def test_a_sentence_is_said_in_the_language_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    assert words.word("Submitted {jobs} jobs.", jobs=3) == "已提交 3 个作业。"
    assert words.word("never translated") == "never translated"
    monkeypatch.setenv("SUANLI_LANG", "en")
    assert words.word("Submitted {jobs} jobs.", jobs=3) == "Submitted 3 jobs."
