"""House rules that a reader would otherwise have to watch for."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.architecture.sources import GENERATED, committed, python_files, text_of, tree_of

LONGEST_FILE = 450
LONGEST_FUNCTION = 70
# Lists that are read by looking something up, not from top to bottom.
LONG_LISTS = {"migrations/versions/0001_the_first_schema.py"}
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
# Written apart, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.-])/(?:wo" + r"rk|ro" + r"ot)/")
INDEX_ADDRESSES = re.compile(r"pypi\." + r"org|python" + r"hosted|https?://\S+/sim" + r"ple\b", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|raise NotImplemented" + r"Error)\b")
BINARY = {".png", ".ico", ".zip", ".gz", ".woff2"}


def production_files() -> list[str]:
    return [path for path in python_files() if not path.startswith("tests/")]


def functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_holding(pattern: re.Pattern[str], paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    return found


def texts() -> list[str]:
    return [path for path in committed() if PurePosixPath(path).suffix not in BINARY]


def test_there_is_something_to_look_at() -> None:
    assert len(production_files()) > 30


def test_no_file_is_too_long() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in production_files() if path not in LONG_LISTS}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    long = {}
    for path in production_files():
        # A migration is one story in order.
        if path.startswith("migrations/versions/"):
            continue
        for function in functions(path):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > LONGEST_FUNCTION:
                long[f"{path}:{function.lineno} {function.name}"] = length
    assert long == {}


def test_no_file_and_no_class_has_a_name_that_says_nothing() -> None:
    files = [
        path
        for path in committed()
        if any(EMPTY_WORDS & set(re.split(r"[_.-]", part.lower())) for part in PurePosixPath(path).parts)
        # Helm asks for this name.
        and not path.endswith("templates/_helpers.tpl")
    ]
    classes = [
        f"{path}:{node.lineno} {node.name}"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?)$", node.name)
    ]
    assert files + classes == []


def test_every_package_says_what_belongs_there() -> None:
    packages = [path for path in production_files() if path.endswith("__init__.py")]
    silent = [path for path in packages if not (ast.get_docstring(tree_of(path)) or "").strip()]
    assert silent == []


def test_a_test_sleeps_only_between_two_looks_at_a_condition() -> None:
    sleeping = []
    for path in python_files():
        if not path.startswith("tests/"):
            continue
        looking_again = {
            id(inner)
            for loop in ast.walk(tree_of(path))
            if isinstance(loop, ast.While) and not isinstance(loop.test, ast.Constant)
            for inner in ast.walk(loop)
        }
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call) or id(node) in looking_again:
                continue
            name = ast.unparse(node.func)
            # `asyncio.sleep(0)` gives the others a turn; it waits for nothing.
            a_turn = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if name.split(".")[-1] == "sleep" and not a_turn:
                sleeping.append(f"{path}:{node.lineno} {name}")
    assert sleeping == []


def test_no_test_replaces_a_part_of_ours() -> None:
    replaced = []
    for path in python_files():
        if not path.startswith("tests/"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest.mock"):
                replaced.append(f"{path}:{node.lineno} imports {node.module}")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("monkeypatch.setattr"):
                target = ast.unparse(node.args[0]).strip("'\"").split(".")[0]
                # The process's own edges may be set; our modules may not.
                if target not in {"sys", "os"}:
                    replaced.append(f"{path}:{node.lineno} sets {target}")
    assert replaced == []


def test_nothing_that_may_be_cancelled_waits_so_that_its_cancellation_is_lost() -> None:
    """`asyncio.wait_for` of Python 3.11 loses one that comes in the same step as the answer, and goes on for ever."""
    waits = [
        f"{path}:{node.lineno}"
        for path in production_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "asyncio.wait_for"
        # What waits for its own end has ended when that is lost.
        and ast.unparse(node.args[0]).split(".")[-2:] not in (["stop", "wait()"], ["ended", "wait()"])
    ]
    assert waits == []


def test_no_path_of_somebodys_machine_is_committed() -> None:
    assert lines_holding(MACHINE_PATHS, texts()) == []


def test_no_address_of_a_package_index_is_committed() -> None:
    assert lines_holding(INDEX_ADDRESSES, texts()) == []


def test_nothing_is_left_for_later() -> None:
    code = [
        path
        for path in texts()
        if PurePosixPath(path).suffix not in {".md", ".json"} and not path.startswith(GENERATED)
    ]
    assert lines_holding(UNFINISHED, code) == []


def test_test_files_have_names_of_their_own() -> None:
    seen: dict[str, str] = {}
    twice = []
    for path in python_files():
        name = PurePosixPath(path).name
        if name.startswith("test_"):
            if name in seen:
                twice.append((seen[name], path))
            seen[name] = path
    assert twice == []
