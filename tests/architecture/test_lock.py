"""The lock: exact versions of everything, from nowhere in particular."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^[a-z0-9][a-z0-9.-]*==[0-9][\w.!+]*( ; .+)?$")


def lock_lines() -> list[str]:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


def asked_for() -> list[Requirement]:
    asked = []
    for path in ("pyproject.toml", "suanli/pyproject.toml"):
        project = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        asked += [Requirement(text) for text in [*project["dependencies"], *(t for e in extras for t in e)]]
    return [requirement for requirement in asked if requirement.name != "suanli"]


def test_every_line_pins_one_version_and_names_no_address() -> None:
    assert [line for line in lock_lines() if not LINE.match(line)] == []


def test_what_the_projects_ask_for_is_pinned_to_a_version_that_they_accept() -> None:
    pins: dict[str, str] = {}
    for line in lock_lines():
        pinned = Requirement(line)
        pins[canonicalize_name(pinned.name)] = str(pinned.specifier).removeprefix("==")
    missing = [str(r) for r in asked_for() if canonicalize_name(r.name) not in pins]
    refused = [
        str(r)
        for r in asked_for()
        if r.specifier and not r.specifier.contains(pins.get(canonicalize_name(r.name), "0"))
    ]
    assert (missing, refused) == ([], [])


def test_no_package_is_pinned_twice_for_the_same_machine() -> None:
    names = [canonicalize_name(Requirement(line).name) for line in lock_lines() if ";" not in line]
    assert len(names) == len(set(names)) > 20


def test_pytorch_is_not_locked() -> None:
    """The demo brings its own, for the machine it finds; it would weigh more than all the rest."""
    assert [line for line in lock_lines() if line.startswith(("torch", "nvidia-cu"))] == []
