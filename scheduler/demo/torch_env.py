"""Find or make a Python with PyTorch for the demo's job.

PyTorch belongs to the job, never to the service, so it gets an environment of its own. Any build will
do: the job computes on the processor. The builds are tried from small to large, and the large one is
announced before it is fetched.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEFAULT_BUILD_BYTES = 6 * 1024**3
CPU_BUILD_BYTES = 1024**3

Say = Callable[[str], None]


class TorchUnavailableError(Exception):
    """No PyTorch could be had; the message says why and what to do."""


@dataclass(frozen=True)
class TorchPython:
    """An interpreter that imports torch, and where it comes from."""

    executable: Path
    source: str


def for_the_examples(say: Say) -> TorchPython:
    """`find_or_install` for the jobs in `examples/finetune`, in `.demo-venv` beside the examples."""
    return find_or_install(
        EXAMPLES.parent / ".demo-venv", read_requirement(EXAMPLES / "finetune" / "requirements.txt"), say
    )


def read_requirement(file: Path) -> str:
    """The one requirement that `file` (pip's format) names; blank lines and comments are passed over.

    Raises TorchUnavailableError where the file names none, or more than one.
    """
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    requirements = [line for line in lines if line]
    if len(requirements) != 1:
        raise TorchUnavailableError(f"{file} must name PyTorch alone, and names {requirements or 'nothing'}")
    return requirements[0]


def find_or_install(folder: Path, requirement: str, say: Say) -> TorchPython:
    """Return an interpreter with PyTorch, installing it into `folder` where none is there.

    Raises TorchUnavailableError where the disk is too small or no index offers a build.
    """
    own = folder / "bin" / "python"
    for candidate, source in ((own, str(folder)), (Path(sys.executable), "the interpreter of Suanli itself")):
        if candidate.exists() and _imports_torch(candidate):
            return TorchPython(candidate, source)
    system = shutil.which("python3")
    if system and _imports_torch(Path(system)):
        return TorchPython(Path(system), f"{system}, where it was installed already")
    _make_environment(folder, say)
    source = _install(own, folder, requirement, say)
    if not _imports_torch(own):
        raise TorchUnavailableError(f"PyTorch was installed into {folder} but cannot be imported there")
    return TorchPython(own, source)


def _imports_torch(python: Path) -> bool:
    probe = "import torch, torch.distributed as d, sys; sys.exit(not d.is_gloo_available())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return (
        subprocess.run([python, "-c", probe], capture_output=True, env=environment, check=False).returncode
        == 0
    )


def _make_environment(folder: Path, say: Say) -> None:
    base = base_interpreter()
    say(f"Making {folder} for PyTorch with {base} ...")
    # Without pip inside: Debian splits ensurepip off, and our own pip can serve another interpreter.
    made = subprocess.run(
        [base, "-m", "venv", "--without-pip", "--clear", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise TorchUnavailableError(f"{base} cannot make {folder}: {made.stderr.strip()}")


def base_interpreter() -> Path:
    """The interpreter to build on: one that every user of the host may run, so that a firm's own user can."""
    candidates = [Path(getattr(sys, "_base_executable", sys.executable)), Path("/usr/bin/python3")]
    for candidate in candidates:
        if candidate.exists() and open_to_all(candidate.resolve()) and _new_enough(candidate):
            return candidate
    return candidates[0]


def open_to_all(path: Path) -> bool:
    """Whether every folder above `path`, and `path` itself, may be entered or run by any user."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents))


def _new_enough(python: Path) -> bool:
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", probe], check=False).returncode == 0


def _install(python: Path, folder: Path, requirement: str, say: Say) -> str:
    cpu = f"{requirement}+cpu"
    if _pip(python, "install", "--dry-run", "--quiet", "--no-deps", cpu, quiet=True):
        _need_space(folder, CPU_BUILD_BYTES)
        say("Installing the CPU build of PyTorch from the configured index (about 200 MB) ...")
        if _pip(python, "install", "--quiet", cpu):
            return "the CPU build from pip's configured index"
    _need_space(folder, DEFAULT_BUILD_BYTES)
    say(
        "No index that pip is set up with has a CPU build of PyTorch, so the default build is installed, with "
        "libraries for GPUs that this demo does not use: about 3 GB to fetch and 5 GB on disk; a minute or two, "
        "only this once (PIP_EXTRA_INDEX_URL may name an index of CPU builds: about 200 MB) ..."
    )
    if _pip(python, "install", "--quiet", requirement):
        return "the registry's default build"
    raise TorchUnavailableError(
        f"pip could not install {requirement} (its own words are above). Install PyTorch into any Python "
        "(its `python3 -c 'import torch'` must work on the PATH) and start the demo again."
    )


def _pip(python: Path, *arguments: str, quiet: bool = False) -> bool:
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--disable-pip-version-check",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=quiet, check=False, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def _need_space(folder: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes:
        raise TorchUnavailableError(
            f"PyTorch needs about {size_bytes / 1024**3:.0f} GiB in {folder}, where "
            f"{free_bytes / 1024**3:.1f} GiB are free. Free some space, or put PyTorch into the python3 on the PATH."
        )


def main() -> None:
    """`python -m scheduler.demo.torch_env`: what the demo does first, alone; tests that need PyTorch find it then."""
    try:
        python = for_the_examples(lambda text: print(text, flush=True))
    except TorchUnavailableError as error:
        sys.exit(str(error))
    print(f"PyTorch: {python.source} ({python.executable})")


if __name__ == "__main__":
    main()
