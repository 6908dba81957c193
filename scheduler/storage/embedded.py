"""PostgreSQL as a child of this process: for one machine, for the first five minutes and for tests.

It listens on a Unix socket in its own closed folder and on no network; every role needs its password; it dies
with its parent. The folder is PostgreSQL's own format: a dump or a base backup moves it to a server proper.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from scheduler.storage import roles
from scheduler.storage.embedded_account import Account, choose_account, find_software
from scheduler.storage.embedded_errors import EmbeddedError
from scheduler.storage.embedded_process import die_with_parent, first_number, works_in

SUPERUSER: Final = "postgres"
ALL_ROLES: Final = (SUPERUSER, roles.OWNER, *roles.SERVICE_ROLES)
DATABASE: Final = "suanli"
PORT: Final = 5432  # of the socket's name only
# sun_path holds 108 bytes with its final zero.
SOCKET_PATH_MAX: Final = 107
START_TIMEOUT_S: Final = 60.0  # recovery after a crash replays at most max_wal_size
STOP_TIMEOUT_S: Final = 30.0

# Lean: one installation on one machine. Durability stays as PostgreSQL ships it.
_SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "min_wal_size": "64MB",
    "wal_compression": "on",
    # Where three others are about to commit a commit waits a millisecond for them: one write to the disk is for all.
    "commit_delay": "1000",
    "commit_siblings": "3",
    "max_wal_senders": "2",  # for pg_basebackup
    "max_replication_slots": "0",
    "max_logical_replication_workers": "0",
    "max_worker_processes": "2",
    "max_parallel_workers": "2",
    # To start two processes for a statement costs more than any of ours.
    "max_parallel_workers_per_gather": "0",
    "recovery_init_sync_method": "syncfs",  # after a kill one call, not one a file
    "autovacuum_max_workers": "1",
    # A plan that was made for a table of ten rows goes through all of ten thousand until somebody counts again.
    "autovacuum_naptime": "10s",
    "io_method": "sync",  # its workers would be three more processes
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "warning",
    # Statements of ours may carry what firms wrote; errors name themselves well enough without.
    "log_min_error_statement": "panic",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
}
_NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_HBA: Final = """\
# Written at every start. No role is trusted, nothing but the socket is served.
local all all scram-sha-256
local replication all scram-sha-256
"""


class EmbeddedPostgres:
    """One server in one folder.

    `passwords` maps every role of ALL_ROLES to its password; keep it, the folder holds only verifiers.
    `durable=False` is for tests: a crash of the host may then destroy the data.
    Start it from the main thread: Linux ends it when the thread that started it ends.
    """

    def __init__(
        self,
        folder: Path,
        passwords: Mapping[str, str],
        *,
        software: Path | None = None,
        durable: bool = True,
        log_path: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.log_path = log_path or self.folder.with_name(self.folder.name + ".log")
        self._passwords = dict(passwords)
        self._given_software = software
        self._settings = _SETTINGS if durable else _SETTINGS | _NOT_DURABLE
        self._durable = durable
        self._account = Account(None, None)
        self._software = Path()
        self._lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The postmaster. Raises EmbeddedError when it was not started."""
        if self._process is None:
            raise EmbeddedError(f"the PostgreSQL server in {self.folder} was not started")
        return self._process

    @property
    def socket_folder(self) -> Path:
        """Where the socket lies: in the server's folder, or where that is too long in the temporary one."""
        if len(os.fsencode(self.folder / f".s.PGSQL.{PORT}.lock")) <= SOCKET_PATH_MAX:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"suanli-pg-{os.geteuid()}-{digest}"

    def url(self, role: str, database: str = DATABASE) -> str:
        """A database URL with the role's password: a secret."""
        password = quote(self._passwords[role], safe="")
        return f"postgresql://{role}:{password}@/{database}?host={quote(str(self.socket_folder), safe='/')}"

    def start(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Make the folder if need be, start, and wait until the server serves. Raises EmbeddedError.

        `meanwhile` is called once, while the folder is made or the server starts: after a kill it has its log to
        replay first.
        """
        self._account = choose_account(self.folder)
        self._software = find_software(self._given_software, self._account)
        self._hold_lock()
        try:
            there = (self.folder / "PG_VERSION").exists()
            if not there:
                self._initialise(meanwhile)
            self._end_previous()
            self._write_configuration()
            self._prepare_socket_folder()
            log_start = self._launch()
            if there:
                meanwhile()
            self._until_it_serves(log_start)
            self._prepare_database()
        except OSError as error:
            self.stop()
            raise EmbeddedError(
                f"PostgreSQL cannot use {error.filename or self.folder}: {error.strerror}"
            ) from error
        except BaseException:
            self.stop()
            raise

    def begin_checkpoint(self) -> None:
        """Let it write down all that it holds, without waiting for that: then a kill leaves it less to do again.

        Making the database and its tables touches hundreds of files, and recovery syncs each.
        """
        with contextlib.suppress(psycopg.Error):
            connection = psycopg.connect(self.url(SUPERUSER, "postgres"), connect_timeout=5)
            connection.pgconn.send_query(b"CHECKPOINT")
            connection.pgconn.flush()
            connection.close()

    def stop(self) -> None:
        """Stop as PostgreSQL's fast shutdown does (open transactions roll back); safe to call again."""
        process, self._process = self._process, None
        # What does not heed the first ends at once; the next start recovers from the log.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process is not None and process.poll() is None:
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT_S)
        if self.socket_folder != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- the folder -----------------------------------------------------------------------------------------

    def _hold_lock(self) -> None:
        """One starter a folder. The lock is the kernel's, so a kill leaves none behind."""
        path = self.folder.with_name(self.folder.name + ".lock")
        try:
            lock = open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        except OSError as error:
            raise EmbeddedError(f"PostgreSQL cannot use {path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise EmbeddedError(f"{self.folder} belongs to a server that is running") from error
        self._lock = lock

    def _initialise(self, meanwhile: Callable[[], None]) -> None:
        """Run initdb beside the final place and move its result there: no half folder is ever used."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise EmbeddedError(f"{self.folder} is neither empty nor a PostgreSQL folder")
        unfinished = self.folder.with_name(self.folder.name + ".unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        with tempfile.TemporaryDirectory(prefix="suanli-initdb-") as closed:
            password = Path(closed, "password")
            password.touch(mode=0o600)
            password.write_text(self._passwords[SUPERUSER] + "\n")
            if self._account.initdb_uid is not None:
                for path in (unfinished, Path(closed), password):
                    os.chown(path, self._account.initdb_uid, self._account.initdb_uid)
            with subprocess.Popen(
                [
                    self._software / "initdb",
                    *("-D", self._reachable(unfinished, self._account.initdb_uid)),
                    *("-U", SUPERUSER, "--encoding=UTF8", "--locale=C"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *("--auth-local=scram-sha-256", "--auth-host=reject", f"--pwfile={password}"),
                    "--no-instructions",
                    "--sync-method=syncfs" if self._durable else "--no-sync",  # one call, not one a file
                ],
                cwd=unfinished,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=_environment(),
                **_become(self._account.initdb_uid),
            ) as initdb:
                try:
                    meanwhile()
                    _, said = initdb.communicate()
                except BaseException:
                    initdb.kill()
                    raise
        if initdb.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise EmbeddedError(f"initdb could not make {self.folder}: {_last_line(said)}")
        if self._account.server_uid is not None:
            _give(unfinished, self._account.server_uid)
        unfinished.rename(self.folder)

    def _end_previous(self) -> None:
        """Wait for the server of a parent that was killed, and drop a pid file that names somebody else.

        Pids are reused, in containers nearly always; PostgreSQL would refuse to start for a stranger's pid.
        """
        pid_file = self.folder / "postmaster.pid"
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        asked = False
        while (pid := first_number(pid_file)) is not None:
            if not works_in(pid, self.folder):
                pid_file.unlink(missing_ok=True)
                return
            if not asked:
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            if time.monotonic() > deadline_s:
                raise EmbeddedError(
                    f"{self.folder} belongs to a PostgreSQL server that does not stop (pid {pid})"
                )
            time.sleep(0.02)

    def _write_configuration(self) -> None:
        """Settings and access are the program's, not the folder's: written at every start."""
        settings = dict(self._settings)
        reachable = self._reachable(self.folder, self._account.server_uid)
        settings["unix_socket_directories"] = (
            reachable if self.socket_folder == self.folder else str(self.socket_folder)
        )
        lines = ["# Written at every start; your own lines go to postgresql.auto.conf (ALTER SYSTEM).\n"]
        lines += [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        for name, content in (("postgresql.conf", "".join(lines)), ("pg_hba.conf", _HBA)):
            self._replace(self.folder / name, content)

    def _replace(self, path: Path, content: str) -> None:
        """Write a file of the server's. Where we are root and the folder is not ours, no link is followed."""
        temporary = path.with_name(f"{path.name}.new")
        temporary.unlink(missing_ok=True)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as output:
            output.write(content)
            if self._account.server_uid is not None:
                os.fchown(output.fileno(), self._account.server_uid, self._account.server_uid)
        temporary.replace(path)

    def _prepare_socket_folder(self) -> None:
        folder = self.socket_folder
        if folder != self.folder:
            owner = os.geteuid() if self._account.server_uid is None else self._account.server_uid
            folder.mkdir(mode=0o700, exist_ok=True)
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid not in (owner, os.geteuid()):
                raise EmbeddedError(f"{folder} belongs to somebody else: remove it")
            folder.chmod(0o700)
            os.chown(folder, owner, -1)
        # The server before has ended. A kill leaves its lock behind, with a pid that is perhaps a stranger's by now.
        (folder / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    # --- the process ----------------------------------------------------------------------------------------

    def _launch(self) -> int:
        """Returns the length of its log before."""
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        log_start = os.fstat(log).st_size
        try:
            self._process = subprocess.Popen(
                [self._software / "postgres", "-D", self._reachable(self.folder, self._account.server_uid)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the parent, who stops us last
                preexec_fn=die_with_parent(os.getpid(), signal.SIGINT),  # noqa: PLW1509 - the parent has one thread here
                **_become(self._account.server_uid),
            )
        except BaseException:
            self._end_previous()  # a signal may come when it runs and we do not know it yet
            raise
        finally:
            os.close(log)
        return log_start

    def _until_it_serves(self, log_start: int) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None:
                said = self.log_path.read_bytes()[log_start:].decode(errors="replace")
                raise EmbeddedError(f"PostgreSQL did not start in {self.folder}: {_reason(said)}")
            try:
                psycopg.connect(self.url(SUPERUSER, "postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise EmbeddedError(
                        f"the passwords kept for {self.folder} are not those it was made with"
                    ) from error
                if time.monotonic() > deadline_s:
                    raise EmbeddedError(f"PostgreSQL in {self.folder} does not answer: {error}") from error
                time.sleep(0.02)
            else:
                return

    def _prepare_database(self) -> None:
        """The owner's role and the database; both are there from the second start on."""
        owner = sql.Identifier(roles.OWNER)
        with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            with connection.transaction():
                known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
                if roles.OWNER not in known:
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(owner))
                roles.create_missing(connection)
                # The owner may then set their passwords and grant to them (membership is not needed for either).
                for role in roles.SERVICE_ROLES:
                    connection.execute(
                        sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(
                            sql.Identifier(role), owner
                        )
                    )
                roles.set_passwords(
                    connection, {role: self._passwords[role] for role in ALL_ROLES if role != SUPERUSER}
                )
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if there is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), owner)
                )

    @staticmethod
    def _reachable(folder: Path, uid: int | None) -> str:
        """The folder as the server names it: through its working directory where it may not walk there."""
        return str(folder) if uid is None else "/proc/self/cwd"


def _become(uid: int | None) -> dict[str, Any]:
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Nothing of ours: no secret in the environment reaches PostgreSQL."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def _give(folder: Path, uid: int) -> None:
    for parent, _, files in os.walk(folder):
        for name in (parent, *(os.path.join(parent, file) for file in files)):
            os.chown(name, uid, uid, follow_symlinks=False)


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _reason(said: str) -> str:
    """The last line that PostgreSQL itself calls fatal, else its last; our own early knocks are not meant."""
    lines = [line for line in said.splitlines() if not line.endswith("the database system is starting up")]
    fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return fatal[-1].split(":  ", 1)[-1] if fatal else _last_line(said)
