"""The commands of both READMEs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("README.md", "README.zh-CN.md")


def command_blocks(readme: str) -> list[list[str]]:
    """The commands of each shell block: without their comments, continued lines as one."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return [_commands(block) for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def _commands(block: str) -> list[str]:
    lines = [re.sub(r"(^|\s\s+)#.*$", "", line).rstrip() for line in block.splitlines()]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [line for line in whole.splitlines() if line]
