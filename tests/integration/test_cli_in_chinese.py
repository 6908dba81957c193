"""What is said to those who read Chinese, against a real server."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.builders.api import CONFIGURATION, ApiInThread, InhabitedUrls
from tests.builders.cli import run_suanli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api(inhabited_urls: InhabitedUrls, tmp_path: Path) -> Iterator[ApiInThread]:
    with ApiInThread(inhabited_urls, tmp_path) as running:
        yield running


def run(api: ApiInThread, home: Path, command: str, person: str = "lin", **more: str) -> str:
    words = shlex.split(command)
    assert words[0] == "suanli"
    done = run_suanli(*words[1:], environment={**api.environment(person, home), **more}, folder=ROOT)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def with_a_project(api: ApiInThread, home: Path) -> None:
    firms = [{**CONFIGURATION["firms"][0], "projects": ["default", "vision", "research"]}]
    (home / "site.yaml").write_text(yaml.safe_dump({"firms": firms}))
    run(api, home, f"suanli apply -f {home / 'site.yaml'}", "ops")


def test_messages_are_chinese_for_who_reads_chinese(api: ApiInThread, tmp_path: Path) -> None:
    with_a_project(api, tmp_path)
    said = run(api, tmp_path, "suanli submit examples/hello/job.yaml", LANG="zh_CN.UTF-8")
    assert said.startswith("已提交 hello")
    assert "排队" not in said
    assert "位置" in run(api, tmp_path, "suanli queue", LANG="zh_CN.UTF-8")
