"""YAML as people write it, read strictly: a typing error is a sentence with a line, never a surprise.

Aliases are refused (a few lines of them can grow to gigabytes), keys may not repeat, and a word is a text
unless it is `true`, `false`, `null` or a plain decimal number: `on`, `no`, `1:30`, `010` and dates stay as
written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from suanli.client.errors import Unusable
from suanli.sentences.harmless import one_line

LIMIT_BYTES = 1 << 20


class BadYaml(Unusable):
    """A file that is none; the sentence names it and the line."""


@dataclass(frozen=True)
class YamlFile:
    """A file's content, and on which line each field stands."""

    name: str
    content: dict[str, Any]
    lines: Mapping[str, int]

    def line_of(self, field: str) -> int | None:
        """The line of a field (`gang.devices`, `variants[0].model`), or of the nearest thing around it."""
        path = field
        while path:
            if path in self.lines:
                return self.lines[path]
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        return None


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases and without YAML 1.1's surprises."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise BadYaml(f"line {mark.line + 1}: aliases (*name) are not allowed; write the value out")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"-?(?:0|[1-9][0-9]{0,18})", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def read_yaml(file: str) -> YamlFile:
    """The mapping in a file; `-` is standard input. Raises BadYaml with the file and the line."""
    name = "standard input" if file == "-" else file
    try:
        data = _read(file)
        text = data.decode("utf-8")
        node = _compose(text)
        lines: dict[str, int] = {}
        _note_lines(node, "", lines)
        content = _Loader("").construct_document(node)
    except BadYaml as error:
        raise BadYaml(f"{name}, {error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadYaml(f"{name}, line {line}: not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        raise BadYaml(f"{name}, {_sentence(error)}") from None
    except yaml.YAMLError as error:
        raise BadYaml(f"{name}: not YAML: {one_line(str(error))}") from None
    except RecursionError:
        raise BadYaml(f"{name}: nested too deeply") from None
    except OSError as error:
        raise BadYaml(f"{name}: {error.strerror or error}") from None
    if not isinstance(content, dict):
        raise BadYaml(f"{name}: holds {_kind(content)}, want keys and values like `name: my-job`")
    return YamlFile(name, content, lines)


def _read(file: str) -> bytes:
    if file == "-":
        data = sys.stdin.buffer.read(LIMIT_BYTES + 1)
    else:
        with Path(file).open("rb") as opened:
            data = opened.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise BadYaml(f"larger than {LIMIT_BYTES} bytes, the most that the server takes")
    return data


def _compose(text: str) -> Node:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is None:
        raise BadYaml("line 1: the file is empty")
    return node


def _note_lines(node: Node, path: str, lines: dict[str, int]) -> None:
    """Where each field stands; refuses repeated keys and keys that are no text."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise BadYaml(f"line {key.start_mark.line + 1}: a key must be one word")
            _refuse_half_a_character(key)
            # `true: 1` and `1: 1` are keys of people who meant text.
            key.tag = "tag:yaml.org,2002:str"
            name = f"{path}.{key.value}" if path else str(key.value)
            if name in lines:
                said = f"{one_line(str(key.value))} is already on line {lines[name]}"
                raise BadYaml(f"line {key.start_mark.line + 1}: {said}")
            lines[name] = key.start_mark.line + 1
            _note_lines(value, name, lines)
    elif isinstance(node, SequenceNode):
        for number, item in enumerate(node.value):
            name = f"{path}[{number}]"
            lines[name] = item.start_mark.line + 1
            _note_lines(item, name, lines)
    elif isinstance(node, ScalarNode):
        _refuse_half_a_character(node)


def _refuse_half_a_character(node: ScalarNode) -> None:
    """`"\\ud800"` is YAML, and half of a character, which UTF-8 has no bytes for."""
    try:
        node.value.encode()
    except UnicodeEncodeError:
        raise BadYaml(f"line {node.start_mark.line + 1}: not UTF-8 text") from None


def _sentence(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = "" if mark is None else f"line {mark.line + 1}: "
    problem = one_line(error.problem or "not YAML")
    hint = ""
    if problem == "but found another document":
        # Half of a sentence of PyYAML's.
        problem = "there is more than one document"
    if "found character '\\t'" in problem:
        hint = "; indent with spaces, not with tabs"
    elif "mapping values are not allowed" in problem:
        hint = '; a value that holds ": " must stand in quotes'
    return f"{where}not YAML: {problem}{hint}"


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(
        type(value), f"a {type(value).__name__}"
    )
