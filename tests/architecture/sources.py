"""What the tests of the house look at: the committed files, those about to be, and their syntax trees."""

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("protos/suanli/",)


@functools.cache
def committed() -> tuple[str, ...]:
    """Paths from the root, sorted, of every file that git knows or would add, and that exists."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(sorted({path for path in listed.split("\0") if path and (ROOT / path).is_file()}))


@functools.cache
def python_files() -> tuple[str, ...]:
    """Paths of the Python files that people write."""
    return tuple(path for path in committed() if path.endswith(".py") and not path.startswith(GENERATED))


@functools.cache
def text_of(path: str) -> str:
    """A file's text; bytes that are no UTF-8 are replaced, for nothing is looked for in them."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@functools.cache
def tree_of(path: str) -> ast.Module:
    """A Python file's syntax tree."""
    return ast.parse(text_of(path), filename=path)
