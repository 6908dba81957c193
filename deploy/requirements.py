"""Write what a host and what the control plane install: subsets of requirements.lock.

`python deploy/requirements.py` rewrites `agent-requirements.txt` and `control-plane-requirements.txt`
beside this file; `--check` only says whether they are as they should be. A subset is the closure of some
names over what the installed distributions declare (so run it where requirements.lock is installed), and
its lines are the lock's own. An agent's names are read from its imports: nobody has to keep a list.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# What runs on a host: its own package, the wire, and the evidence formats.
AGENT_CODE = ("agents", "protos/suanli", "suanli/evidence", "suanli/content")
OURS = {"suanli", "scheduler", "agents", "protos"}


def locked() -> dict[str, str]:
    """Each locked distribution's line, by canonical name."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(re.split(r"[=\s;]", line, maxsplit=1)[0]): line for line in lines if line}


def imported(folders: Iterable[str]) -> set[str]:
    """Top-level modules that the Python files below the folders import, wherever in the file."""
    modules = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    modules.add(node.module.split(".")[0])
    return modules


def agent_names() -> set[str]:
    """Distributions that provide what the agent's code imports."""
    providers = metadata.packages_distributions()
    foreign = imported(AGENT_CODE) - set(sys.stdlib_module_names) - OURS
    # Raises KeyError where the agent imports what the lock does not provide.
    # `google` is a folder that several share; protobuf is whose part the wire uses.
    return {
        "protobuf" if module == "google" else canonicalize_name(providers[module][0]) for module in foreign
    }


def control_plane_names() -> set[str]:
    """Distributions that the two projects ask for without extras."""
    texts: list[str] = []
    for path in ("pyproject.toml", "suanli/pyproject.toml"):
        texts += tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]["dependencies"]
    return closure_step(texts) - {"suanli"}


def closure_step(requirements: Iterable[str], extras: frozenset[str] = frozenset()) -> set[str]:
    """Names of the requirements that hold on some machine of ours: Linux, CPython, with the given extras."""
    names = set()
    for text in requirements:
        requirement = Requirement(text)
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted:
            names.add(canonicalize_name(requirement.name))
            for extra in requirement.extras:
                # An extra asks for more of the same distribution.
                names |= closure_step(metadata.requires(requirement.name) or (), frozenset({extra}))
    return names


def closure(names: Iterable[str]) -> set[str]:
    """The names and all that they need, transitively."""
    known: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting |= closure_step(metadata.requires(name) or ()) - known
    return known


def contents() -> dict[Path, str]:
    """What the files should hold."""
    lines = locked()
    head = "# Written by deploy/requirements.py from requirements.lock; do not edit.\n"
    return {
        HERE / file: head + "".join(f"{lines[name]}\n" for name in sorted(closure(names)))
        for file, names in (
            ("agent-requirements.txt", agent_names()),
            ("control-plane-requirements.txt", control_plane_names()),
        )
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them; exit status 1 when they differ."""
    meant = contents()
    stale = [path for path, text in meant.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run python deploy/requirements.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(meant[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
