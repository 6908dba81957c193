"""The order of `up`: secrets, database, schema, processes; and all of it back again."""

import fcntl
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from scheduler import secret_files
from scheduler.process import PROGRAM, announcement_path, sentence_of, write_announcement
from scheduler.settings import Settings
from scheduler.storage import roles
from scheduler.storage.embedded import EmbeddedPostgres
from scheduler.storage.embedded_errors import EmbeddedError
from scheduler.storage.embedded_process import die_with_parent
from scheduler.storage.migrate import already_current
from scheduler.up.children import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    Child,
    ChildFailed,
    Children,
    keep_small,
)
from scheduler.up.forking import ROOMS, Gate, Program, load_shared, run_copy
from scheduler.up.signals import Signals, StopRequested
from scheduler.up.workers import usual_workers
from scheduler.wiring import PROCESSES

# Names that reach no child except as we set them: they would hold our database or another's name.
_OWN: Final = ("SUANLI_DATABASE_URL", "SUANLI_NAME", "SUANLI_METRICS_PORT", PROGRAM)


class UpFailed(Exception):
    """The installation cannot be started; the message is one sentence."""


class Installation:
    """One installation on this machine, from its start to its end."""

    def __init__(
        self,
        settings: Settings,
        hosts: Sequence[str],
        say: Callable[[str], None],
        program: Program,
        *,
        as_json: bool = False,
    ) -> None:
        self._program = program
        self._as_json = as_json
        self._settings = settings
        self._hosts = hosts
        self._say = say
        self._stack = ExitStack()

    def run(self) -> int:
        """Start, serve until asked to stop, stop. Raises UpFailed when it could not be started."""
        with Signals() as signals:
            try:
                with self._stack:
                    server, children = self._start(signals)
                    self._serve(signals, server, children)
            except StopRequested:
                self._say("stopped; nothing of it runs any more")
                return 0
            except (
                ChildFailed,
                EmbeddedError,
                roles.RolesMissing,
                secret_files.SecretsIncomplete,
            ) as error:
                raise UpFailed(str(error)) from error
            except psycopg.Error as error:
                raise UpFailed(f"the database refuses: {sentence_of(error)}") from error
            except OSError as error:
                raise UpFailed(sentence_of(error)) from error
        return 0

    # --- start ----------------------------------------------------------------------------------------------

    def _start(self, signals: Signals) -> tuple[EmbeddedPostgres | None, Children]:
        """The processes load what they run while PostgreSQL starts, and go on when it serves and is migrated: the API
        first, which needs nobody else to acknowledge a job.
        """
        self._prepare()
        settings = self._settings
        own = [self._child(name, role) for name, role in PROCESSES.items()]
        children = Children(own, signals, self._say)
        gate = Gate()

        def copies() -> None:
            load_shared()
            self._stack.callback(children.stop)
            children.start(self._program, gate)

        server = None
        if settings.database_url is None:
            server = EmbeddedPostgres(
                settings.data / "pg",
                secret_files.role_passwords(settings),
                software=settings.postgres_folder,
                log_path=settings.run_folder / "postgresql.log",
            )
            self._stack.callback(server.stop)
            server.start(meanwhile=copies)
            owner_url = server.url(roles.OWNER)
        else:
            copies()
            owner_url = settings.database_url.get_secret_value()
        migrated = self._migrate(owner_url, external=server is None)
        gate.open(first=True)
        children.ready(first=True)
        gate.open(first=False)
        announced = children.ready()
        self._keep_ports(own, announced)
        self._announce(announced)
        if server is not None and migrated:
            server.begin_checkpoint()
        return server, children

    def _prepare(self) -> None:
        """Folders, secrets, and that nobody else is here."""
        settings = self._settings
        folders = [settings.data, settings.run_folder, settings.job_log_folder, settings.content_folder]
        folders += [
            place for place in (settings.log_place, settings.payload_place) if isinstance(place, Path)
        ]
        for folder in folders:
            secret_files.make_folder(folder)
        self._stack.enter_context(_hold(settings.run_folder / "up.lock", settings.data))
        for port in (settings.api_port, settings.fleet_port, settings.enrolment_port):
            _require_free(settings.host, port)
        secret_files.prepare(settings, self._certified_names())

    def _migrate(self, owner_url: str, *, external: bool) -> bool:
        """In a process of its own: Alembic's memory goes with it. The usual start finds nothing to migrate: False."""
        if not external and already_current(owner_url):
            return False
        # The embedded server has the passwords already.
        arguments = ["migrate", *(["--set-passwords"] if external else [])]
        environment = self._environment(SUANLI_DATABASE_URL=owner_url)
        with tempfile.TemporaryFile() as output:
            status = run_copy(
                self._program, arguments, environment, output.fileno(), die_with_parent(os.getpid(), 15)
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        if status != 0:
            lines = [line for line in said.splitlines() if line.startswith("scheduler: ")]
            reason = lines[-1].removeprefix("scheduler: ") if lines else said.strip()[-500:]
            raise UpFailed(f"the database could not be migrated: {reason}")
        return True

    def _child(self, name: str, role: str) -> Child:
        settings = self._settings
        metrics = {}
        if settings.metrics_port is not None:
            offset = list(PROCESSES).index(name) if settings.metrics_port else 0
            metrics = {
                "SUANLI_METRICS_PORT": str(settings.metrics_port + offset),
                "SUANLI_METRICS_HOST": settings.metrics_host or "127.0.0.1",
            }
        environment = self._environment(
            SUANLI_DATABASE_URL=self._role_url(role),
            SUANLI_NAME=f"{socket.gethostname()}-{name}",
            SUANLI_API_PORT=str(settings.api_port),
            SUANLI_FLEET_PORT=str(settings.fleet_port),
            SUANLI_ENROLMENT_PORT=str(settings.enrolment_port),
            SUANLI_API_WORKERS=str(settings.api_workers or usual_workers()),
            SUANLI_HOST=settings.host,
            SUANLI_WINDOW_MS=str(settings.window_ms),
            SUANLI_WITNESSES=json.dumps([witness.model_dump() for witness in settings.witnesses]),
            SUANLI_LOG_ORIGIN=secret_files.log_origin(settings),
            SUANLI_LOG_LEVEL=settings.log_level,
            SUANLI_LOG_FORMAT=settings.log_format,
            **metrics,
        )
        child = Child(name, environment, settings.run_folder, self._output(name), first=name == "api")
        supervises = name == "api" and int(environment["SUANLI_API_WORKERS"]) > 1
        child.room = None if supervises else ROOMS[name]
        return child

    def _role_url(self, role: str) -> str:
        password = secret_files.role_passwords(self._settings)[role]
        if self._settings.database_url is None:
            return EmbeddedPostgres(self._settings.data / "pg", {role: password}).url(role)
        return with_login(self._settings.database_url.get_secret_value(), role, password)

    def _environment(self, **given: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _OWN}
        return inherited | {"SUANLI_DATA": str(self._settings.data)} | given

    def _output(self, name: str) -> Path | None:
        """At a terminal a file, so that the addresses stay in sight; else our stderr, as services expect."""
        if not sys.stderr.isatty():
            return None
        return self._settings.run_folder / f"{name}.log"

    def _certified_names(self) -> set[str]:
        names = {*self._hosts, *([self._settings.advertised_host] if self._settings.advertised_host else [])}
        if self._settings.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            names.add(self._settings.host)
        return names

    # --- run ------------------------------------------------------------------------------------------------

    def _keep_ports(self, children: Sequence[Child], announced: Any) -> None:
        """Who was given any free port keeps it when started again: agents and clients know it."""
        ports = {
            "SUANLI_API_PORT": announced["api"]["address"],
            "SUANLI_FLEET_PORT": announced["gateway"]["fleet"],
            "SUANLI_ENROLMENT_PORT": announced["gateway"]["enrolment"],
        }
        for child in children:
            child.environment.update({name: address.rpartition(":")[2] for name, address in ports.items()})

    def _announce(self, announced: Any) -> None:
        settings = self._settings
        addresses = {
            "api": announced["api"]["url"],
            "enrolment": announced["gateway"]["enrolment"],
            "fleet": announced["gateway"]["fleet"],
            "ca": str(settings.secret("ca.crt")),
            "data": str(settings.data),
        }
        write_announcement(settings.run_folder, "up", {"pid": os.getpid(), **addresses})
        self._stack.callback(announcement_path(settings.run_folder, "up").unlink, missing_ok=True)
        if self._as_json:
            sys.stdout.write(json.dumps({"pid": os.getpid(), **addresses}) + "\n")
            sys.stdout.flush()
            return
        self._say(
            f"serving\n  API        {addresses['api']}\n"
            f"  agents     enrolment {addresses['enrolment']}, fleet {addresses['fleet']}, "
            f"authority {addresses['ca']}\n"
            f"  data       {addresses['data']}\n"
            f"  operator   suanli admin init --data {addresses['data']}\n"
            "Ctrl-C stops all of it."
        )

    def _serve(self, signals: Signals, server: EmbeddedPostgres | None, children: Children) -> None:
        while True:
            signals.sleep(children.watch())
            if server is not None:
                self._keep_database(signals, server)

    def _keep_database(self, signals: Signals, server: EmbeddedPostgres) -> None:
        """Start PostgreSQL again if it ended; the processes wait for it meanwhile."""
        keep_small(server.log_path)
        status = server.process.poll()
        if status is None:
            return
        self._say(f"PostgreSQL ended with status {status}; starting it again")
        pause_s = BACKOFF_FIRST_S
        while True:
            server.stop()
            try:
                server.start()
            except EmbeddedError as error:
                self._say(f"{error}; next try in {pause_s:g} s")
                signals.sleep(pause_s)
                pause_s = min(pause_s * 2, BACKOFF_MAX_S)
            else:
                return


def with_login(url: str, role: str, password: str) -> str:
    """The same database as another role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{host}"))


def _hold(path: Path, data: Path) -> IO[bytes]:
    """One `up` a data folder. The lock is the kernel's: a kill leaves none behind."""
    lock = open(path, "ab")  # noqa: SIM115 - held as long as the caller's stack
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise UpFailed(f"{data} is in use by another 'suanli up'") from error
    return lock


def _require_free(host: str, port: int) -> None:
    """Say early that a port is taken; the processes would find out after the database was started."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            hint = "choose others with --port (agents get the two after it)"
            raise UpFailed(f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from error
