"""Logs: one object a line, and no secret in any of them."""

import json
import subprocess
import sys
from typing import Any

import pytest

from scheduler.logs import hide_secrets, hide_text

KEY = "sk_" + "a" * 43
TOKEN = "sjt_" + "b" * 43

_WRITE = """
import logging, sys
import structlog
from scheduler.logs import configure
configure("test", sys.argv[1], sys.argv[2])
log = structlog.get_logger("room")
log.debug("quiet")
log.info("hello", job="j1", 中="文")
try:
    password = "local variable hunter2"
    raise ValueError("cannot reach postgresql://u:hunter3@h/d")
except ValueError:
    log.exception("failed", password="hunter1")
logging.getLogger("library").warning("old %s", "style")
logging.getLogger("library").info("unimportant")
"""


def _written(level: str = "info", style: str = "json") -> str:
    return subprocess.run(
        [sys.executable, "-c", _WRITE, level, style], capture_output=True, text=True, check=True
    ).stderr


def test_every_line_is_one_object_with_time_level_and_process() -> None:
    lines = [json.loads(line) for line in _written().splitlines()]
    assert [line["event"] for line in lines] == ["hello", "failed", "old style"]
    assert all({"at", "level", "process"} <= line.keys() for line in lines)
    assert lines[0] | {"at": ""} == {
        "event": "hello", "job": "j1", "中": "文", "level": "info", "at": "", "process": "test",
    }  # fmt: skip
    assert lines[0]["at"].endswith("Z")


def test_a_traceback_is_there_without_values_of_variables() -> None:
    written = _written()
    assert "Traceback (most recent call last)" in written
    for secret in ("hunter1", "hunter2", "hunter3"):
        assert secret not in written.replace('password = \\"local variable hunter2\\"', "")


def test_the_level_is_kept_to() -> None:
    assert "quiet" in _written("debug")
    assert "hello" not in _written("error")


def test_people_at_a_terminal_get_lines_to_read() -> None:
    written = _written(style="console")
    assert "hello" in written
    assert not written.startswith("{")
    assert "hunter1" not in written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY}.", "key [hidden]."),
        (f"token={TOKEN}", "token=[hidden]"),
        ("postgresql://u:p%40ss@h:5432/d", "postgresql://u:[hidden]@h:5432/d"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "[hidden]"),
        ("https://example.org/a:b@c", "https://example.org/a:b@c"),
        ("a risk_averse sky", "a risk_averse sky"),
    ],
)
def test_secrets_are_known_by_their_shape(text: str, shown: str) -> None:
    assert hide_text(text) == shown


def test_secrets_are_known_by_the_name_of_their_field_at_any_depth() -> None:
    event: dict[str, Any] = {
        "event": "x",
        "api_key": "1",
        "join_token": "2",
        "headers": {"Authorization": "3", "accept": f"text {KEY}"},
        "rows": [{"password": "4"}, ("5", {"salt": "6"})],
        "key_id": "shown",
        "tokens_seen": 7,
    }
    hidden = json.dumps(hide_secrets(None, "", event))
    assert not any(f'"{secret}"' in hidden for secret in "12346")
    assert KEY not in hidden
    assert '"shown"' in hidden
    assert '"5"' in hidden
