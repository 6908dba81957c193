"""Help, and what is said of a command that was typed wrongly, for those who read Chinese: of every command that there
is, and of all that Typer says by itself."""

import ast
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from suanli.cli.output import cells, wrapped
from suanli.cli.program import learn, run
from suanli.sentences.words import said
from suanli.sentences.words_zh_apart_help import ZH_APART_HELP
from suanli.sentences.words_zh_help import ZH_HELP
from tests.builders.cli import run_suanli

PROGRAMS = (
    "suanli.cli.main",
    "suanli.cli.verify",
    "suanli.cli.sample",
    "suanli.cli.witness",
    "suanli.cli.proof",
    "scheduler.app",
)
ENGLISH = re.compile(r"\b(?!suanli )[A-Za-z]{2,}[,.;:]? [a-z]{2,}[,.;:]? [a-z]{2,}")
TYPER = Path(typer.__file__).parent
# Of other outputs than ours (boxes, its own program, other systems), and prompts, which `ask_hidden` asks itself.
NOT_OURS = {"rich_utils.py", "cli.py", "testing.py", "_winconsole.py", "termui.py"}
SPEAKS = re.compile(
    r"_|fail|.*\.fail|.*echo|super\(\).__init__|(.*\.)?(UsageError|BadParameter|NoSuchOption|BadOptionUsage|BadArgumentUsage)"
)
# Not used here (options with several values, files that Typer opens), or said while a shell completes what is typed.
NEVER_SAID = {
    "Couldn't detect Bash version, shell completion is not supported.",
    "Shell completion is not supported for Bash versions older than 4.4.",
    "Could not open file 1: 1",
    "unknown error",
    "Missing parameter: 1",
    "Value must be an iterable.",
    "Couldn't get PowerShell user profile",
    "Couldn't decode the path automatically",
}
# Said with the rest of their sentence.
PARTS = {
    "(Possible options: 1)": "No such option: --x (Possible options: --y)",
    "Option 1 requires 1": "Option '--x' requires an argument.",
    "Missing 11.": "Missing argument 'x'.",
    "Missing 11. 1": "Missing option '--x'.",
}


def commands(command: Any, name: str) -> Iterator[tuple[Any, str]]:
    yield command, name
    for one in getattr(command, "commands", {}).values():
        yield from commands(one, f"{name} {one.name}")


@pytest.fixture
def in_chinese(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SUANLI_LANG", "zh")
    return monkeypatch


def test_every_help_has_its_chinese_and_none_is_left_of_help_that_is_gone() -> None:
    paragraphs = {
        " ".join(paragraph.split())
        for program in PROGRAMS
        for command, _ in commands(get_command(import_module(program).app), program)
        for part in (command, *command.params)
        for paragraph in (getattr(part, "help", None) or "").split("\n\n")
    }
    assert paragraphs - {""} == {*ZH_HELP, *ZH_APART_HELP}
    assert not ZH_HELP.keys() & ZH_APART_HELP.keys()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_has_no_english_and_fits_the_terminal(
    in_chinese: pytest.MonkeyPatch, program: str, columns: int
) -> None:
    in_chinese.setenv("COLUMNS", str(columns))
    root = get_command(import_module(program).app)
    learn(root)
    for command, name in commands(root, "suanli"):
        shown = command.get_help(command.context_class(command, info_name=name))
        assert "显示此帮助并退出。" in shown or command.context_settings
        assert not ENGLISH.search(shown), (name, ENGLISH.search(shown))
        # A name in the left column may be longer than its half of the terminal; what stands beside it fits.
        assert [line for line in shown.split("\n") if cells(line) > columns] == [], name


def of_typer() -> Iterator[tuple[str, str]]:
    for path in sorted(TYPER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            spoken: list[ast.expr | None] = []
            if isinstance(node, ast.Call) and SPEAKS.fullmatch(ast.unparse(node.func)):
                spoken = [*node.args, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.Return | ast.Assign) and path.name == "exceptions.py":
                spoken = [node.value]
            for one in spoken:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    text = re.sub(r"\{[^}]*\}", "1", one.value)
                elif isinstance(one, ast.JoinedStr):
                    text = "".join(
                        part.value if isinstance(part, ast.Constant) else "1" for part in one.values
                    )
                else:
                    continue
                if path.name not in NOT_OURS and re.search("[A-Z][a-z]+ |[a-z]+ [a-z]+", text):
                    yield f"{path.name}:{node.lineno}", text


def test_all_that_typer_says_by_itself_has_its_chinese(in_chinese: pytest.MonkeyPatch) -> None:
    found = [(where, PARTS.get(text, text)) for where, text in of_typer() if text not in NEVER_SAID]
    assert len(found) > 20
    assert [one for one in found if said(one[1]) == one[1]] == []


@pytest.mark.parametrize(
    ("typed", "chinese"),
    [
        ("show", "错误：缺少参数 'JOB'。"),
        ("jbs", "错误：没有命令 'jbs'。是否想用 'jobs'？"),
        ("keys", "用法：suanli keys [选项] 命令 [参数]..."),
        ("jobs --watcj", "错误：没有选项 --watcj（是否想用 --watch？）"),
        ("jobs --limit", "错误：选项 '--limit' 需要一个值。"),
        ("jobs --limit many", "错误：'--limit' / '-n' 的值无效：应为整数"),
        ("jobs --limit 0", "错误：'--limit' / '-n' 的值无效：应不小于 1"),
        ("jobs --limit 10001", "错误：'--limit' / '-n' 的值无效：应不大于 10000"),
        ("jobs --watch=1", "错误：选项 '--watch' 不带值。"),
        ("show a b", "错误：多余的参数（b）"),
    ],
)
def test_what_was_typed_wrongly_is_said_in_chinese(
    in_chinese: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, chinese: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(import_module("suanli.cli.main").app, typed.split(), "suanli")
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert chinese in shown.split("\n")
    assert not ENGLISH.search(shown)


@pytest.mark.parametrize("width", [30, 45, 60])
def test_no_line_begins_with_the_sign_that_ends_a_sentence_nor_ends_with_a_bracket_that_opens(
    width: int,
) -> None:
    for text in {**ZH_HELP, **ZH_APART_HELP}.values():
        for line in wrapped(text, width).split("\n"):
            assert line[0] not in "，。、；：！？）》」”", line
            assert line[-1] not in "（《「", line


def test_help_says_every_exit_code() -> None:
    told = run_suanli("--help", environment={"PATH": os.environ["PATH"], "COLUMNS": "400"}).stdout
    assert re.findall(r"(?<=[ .])(\d+): ", told) == ["0", "1", "2", "3", "130"]


@pytest.mark.parametrize("arguments", [("--help",), ("receipt", "--help"), ("simulate", "--help")])
def test_no_help_of_a_command_is_cut(arguments: tuple[str, ...]) -> None:
    for width in ("60", "100"):
        shown = run_suanli(*arguments, environment={"PATH": os.environ["PATH"], "COLUMNS": width}).stdout
        assert "Usage" in shown
        assert not re.search(r"\.\.\.$", shown.split("Commands:")[-1], re.MULTILINE), shown


def test_a_line_is_cut_between_words_and_beside_wide_characters() -> None:
    assert wrapped("把每个流存为 FOLDER 中的文件。", 14, "- ", "  ").split("\n") == [
        "- 把每个流存为",
        "  FOLDER 中的",
        "  文件。",
    ]
    assert wrapped("\U00020bb7" * 12, 10).split("\n") == [
        "\U00020bb7" * 5,
        "\U00020bb7" * 5,
        "\U00020bb7" * 2,
    ]
    assert all(cells(line) <= 10 for line in wrapped("ab 🚀🚀🚀🚀🚀 cd\u3000\u3000ef", 10).split("\n"))
