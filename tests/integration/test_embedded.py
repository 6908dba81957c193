"""The embedded PostgreSQL: closed to everybody without a password, and gone with its parent."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from scheduler.storage import roles
from scheduler.storage.embedded import ALL_ROLES, SOCKET_PATH_MAX, SUPERUSER, EmbeddedPostgres
from scheduler.storage.embedded_account import SERVER_UID, Account, choose_account, find_software
from scheduler.storage.embedded_errors import EmbeddedError
from tests.builders.database import throwaway_passwords
from tests.builders.running import ending, next_line

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a server that was made, used and stopped; tests copy it, which is faster than initdb."""
    folder = tmp_path_factory.mktemp("embedded")
    passwords = throwaway_passwords()
    with (
        EmbeddedPostgres(folder / "pg", passwords, durable=False) as server,
        psycopg.connect(server.url(roles.OWNER)) as owner,
    ):
        owner.execute("CREATE TABLE kept AS SELECT 1 AS n")
    return folder / "pg", passwords


@pytest.fixture
def server(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own for one test, not started."""
    source, passwords = installed
    subprocess.run(["cp", "-a", source, tmp_path / "pg"], check=True)
    made = EmbeddedPostgres(tmp_path / "pg", passwords, durable=False)
    yield made
    made.stop()


def _kept(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.url(roles.OWNER)) as owner:
        row = owner.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, "the condition did not come true"
        time.sleep(0.01)


def test_every_role_needs_its_own_password(server: EmbeddedPostgres) -> None:
    server.start()
    for role in ALL_ROLES:
        psycopg.connect(server.url(role)).close()
        for wrong in ("", ":", ":wrong"):
            with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication failed"):
                psycopg.connect(
                    f"postgresql://{role}{wrong}@/suanli?host={server.folder}", passfile="/dev/null"
                )


def test_only_scram_verifiers_are_kept_and_no_password_is_written_down(server: EmbeddedPostgres) -> None:
    server.start()
    with psycopg.connect(server.url(SUPERUSER)) as superuser:
        rows = superuser.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
    assert {role for role, _ in rows} == set(ALL_ROLES)
    assert all(verifier.startswith("SCRAM-SHA-256$") for _, verifier in rows)
    passwords = [server.url(role).split(":")[2].split("@")[0].encode() for role in ALL_ROLES]
    server.stop()
    files = [
        path
        for path in (server.folder, server.log_path)
        for path in [path, *path.rglob("*")]
        if path.is_file()
    ]
    assert files
    for content in (path.read_bytes() for path in files):
        assert not any(password in content for password in passwords)


def test_no_network_port_listens(server: EmbeddedPostgres) -> None:
    server.start()
    with psycopg.connect(server.url(SUPERUSER)) as superuser:
        assert superuser.execute("SHOW listen_addresses").fetchone() == ("",)
    inodes = {
        os.readlink(f"/proc/{server.process.pid}/fd/{number}")
        for number in os.listdir(f"/proc/{server.process.pid}/fd")
    }
    sockets = {
        inode.removeprefix("socket:[").removesuffix("]") for inode in inodes if inode.startswith("socket:")
    }
    for table in ("tcp", "tcp6", "udp", "udp6"):
        in_use = {line.split()[9] for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]}
        assert not sockets & in_use


def test_the_folder_is_closed_and_no_mode_above_it_is_changed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    above = [closed, *closed.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in above]
    with EmbeddedPostgres(closed / "pg", throwaway_passwords(), durable=False) as server:
        about = server.folder.stat()
        assert about.st_mode & 0o777 == 0o700
        assert (server.folder / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
        if AS_ROOT:
            assert about.st_uid == SERVER_UID
            uids = Path(f"/proc/{server.process.pid}/status").read_text()
            assert f"Uid:\t{SERVER_UID}\t{SERVER_UID}\t{SERVER_UID}" in uids
    assert [(path.stat().st_mode, path.stat().st_uid) for path in above] == before
    assert sorted(path.name for path in closed.iterdir()) == ["pg", "pg.lock", "pg.log"]


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_another_user_cannot_reach_the_socket_even_where_the_way_to_the_folder_is_open(
    installed: tuple[Path, dict[str, str]],
) -> None:
    source, passwords = installed
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["cp", "-a", source, Path(folder, "pg")], check=True)
        with (
            EmbeddedPostgres(Path(folder, "pg"), passwords, durable=False) as server,
            socket.socket(socket.AF_UNIX) as stranger,
        ):
            path = str(server.folder / ".s.PGSQL.5432")
            os.seteuid(65_534)
            try:
                with pytest.raises(PermissionError):
                    stranger.connect(path)
            finally:
                os.seteuid(0)
            stranger.connect(path)


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as somebody else")
def test_programs_behind_a_closed_folder_are_copied_where_the_server_reaches_them(tmp_path: Path) -> None:
    account = choose_account(tmp_path / "pg")
    package = find_software(None, Account(None, None)).parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (package / "pginstall18", package.with_name(package.name + ".libs")):
        shutil.copytree(folder, closed / folder.relative_to(package.parent), symlinks=True)
    software = closed / package.name / "pginstall18" / "bin"
    copy = find_software(software, account)
    try:
        assert not copy.is_relative_to(closed)
        with EmbeddedPostgres(
            tmp_path / "pg", throwaway_passwords(), software=software, durable=False
        ) as server:
            assert os.readlink(f"/proc/{server.process.pid}/exe").startswith(str(copy))
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(copy.parents[2])


def test_data_outlives_a_stop_and_stopping_twice_is_no_error(server: EmbeddedPostgres) -> None:
    server.start()
    process = server.process
    server.stop()
    server.stop()
    assert process.returncode == 0
    assert not (server.folder / "postmaster.pid").exists()
    server.start()
    assert _kept(server) == 1


def test_a_running_server_refuses_a_second_one_in_one_sentence(server: EmbeddedPostgres) -> None:
    server.start()
    second = EmbeddedPostgres(server.folder, throwaway_passwords(), durable=False)
    with pytest.raises(EmbeddedError, match="belongs to a server that is running"):
        second.start()
    assert _kept(server) == 1


@pytest.mark.parametrize(
    "pid",
    ["1", str(os.getpid()), "999999999", "", "not a number"],
    ids=["init", "ours", "nobody", "empty", "words"],
)
def test_stale_files_that_name_a_stranger_do_not_stop_the_start(server: EmbeddedPostgres, pid: str) -> None:
    """Both that a killed server leaves: the folder's and the socket's."""
    (server.folder / "postmaster.pid").write_text(f"{pid}\n/somewhere\n")
    (server.socket_folder / ".s.PGSQL.5432.lock").write_text(f"{pid}\n/somewhere\n")
    server.start()
    assert _kept(server) == 1


def test_what_was_committed_is_there_after_a_kill(
    installed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    source, passwords = installed
    subprocess.run(["cp", "-a", source, tmp_path / "pg"], check=True)
    server = EmbeddedPostgres(tmp_path / "pg", passwords)  # durable
    server.start()
    with psycopg.connect(server.url(roles.OWNER), autocommit=True) as owner:
        owner.execute("INSERT INTO kept VALUES (2)")
        server.process.kill()
        server.process.wait(20)
    server.stop()
    with server:
        assert _kept(server) == 2


_PARENT = """
import json, os, pathlib, signal, sys
from scheduler.storage.embedded import EmbeddedPostgres
server = EmbeddedPostgres(pathlib.Path(sys.argv[1]), json.loads(sys.stdin.read()), durable=False)
server.start()
print(server.process.pid, flush=True)
signal.pause()
"""


def test_it_dies_with_a_parent_that_was_killed_and_the_next_start_works(
    installed: tuple[Path, dict[str, str]], server: EmbeddedPostgres
) -> None:
    import json

    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, server.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with ending(parent):
        assert parent.stdin is not None
        parent.stdin.write(json.dumps(installed[1]))
        parent.stdin.close()
        postmaster = int(next_line(parent.stdout))
    server.start()  # at once: the old one may still be stopping
    assert _kept(server) == 1
    _wait(lambda: not Path(f"/proc/{postmaster}").exists())


def test_a_checkpoint_that_was_begun_leaves_recovery_nothing_of_what_came_before(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    with psycopg.connect(server.url(SUPERUSER), autocommit=True) as superuser:
        superuser.execute("CREATE TABLE before AS SELECT 1 AS n")
        written = superuser.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert written is not None

        def recovery_begins_later() -> bool:
            query = "SELECT redo_lsn >= %s::pg_lsn FROM pg_control_checkpoint()"
            return superuser.execute(query, written).fetchone() == (True,)

        assert not recovery_begins_later()
        server.begin_checkpoint()
        _wait(recovery_begins_later)


def test_other_work_is_done_once_while_the_folder_is_made_or_else_while_it_starts(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    there: list[bool] = []
    server.start(lambda: there.append(server.folder.exists()))
    new = EmbeddedPostgres(tmp_path / "new", throwaway_passwords(), durable=False)
    try:
        new.start(lambda: there.append(new.folder.exists()))
    finally:
        new.stop()
    assert there == [True, False]


def test_a_long_path_has_its_socket_in_a_closed_folder_elsewhere(
    installed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    source, passwords = installed
    long = tmp_path / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True)
    subprocess.run(["cp", "-a", source, long / "pg"], check=True)
    with EmbeddedPostgres(long / "pg", passwords, durable=False) as server:
        elsewhere = server.socket_folder
        assert elsewhere != server.folder
        assert len(str(elsewhere / ".s.PGSQL.5432")) <= SOCKET_PATH_MAX
        assert elsewhere.stat().st_mode & 0o777 == 0o700
        assert _kept(server) == 1
    assert not elsewhere.exists()


def test_a_half_made_folder_is_made_again_and_a_strange_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg.unfinished").mkdir()
    (tmp_path / "pg.unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "pg", throwaway_passwords(), durable=False) as server:
        psycopg.connect(server.url(roles.OWNER)).close()
    assert not (tmp_path / "pg.unfinished").exists()

    strange = tmp_path / "strange"
    strange.mkdir()
    if AS_ROOT:
        os.chown(strange, SERVER_UID, SERVER_UID)
    (strange / "thesis.tex").write_text("mine")
    with pytest.raises(EmbeddedError, match="neither empty nor a PostgreSQL folder"):
        EmbeddedPostgres(strange, throwaway_passwords(), durable=False).start()
    assert (strange / "thesis.tex").read_text() == "mine"


def test_lost_passwords_are_told_in_one_sentence_and_nothing_keeps_running(server: EmbeddedPostgres) -> None:
    other = EmbeddedPostgres(server.folder, throwaway_passwords(), durable=False)
    with pytest.raises(EmbeddedError, match=r"passwords kept for .* are not those it was made with"):
        other.start()
    assert not (server.folder / "postmaster.pid").exists()
    server.start()
    assert _kept(server) == 1


def test_a_start_that_postgresql_refuses_names_its_reason(server: EmbeddedPostgres) -> None:
    (server.folder / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match=r"did not start in .*could not .*pg_control"):
        server.start()


def test_a_folder_without_programs_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="holds no program 'postgres'"):
        find_software(tmp_path, Account(None, None))


def test_it_is_durable_unless_a_test_asks_otherwise(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path / "pg", throwaway_passwords()) as server,
        psycopg.connect(server.url(roles.API)) as api,
    ):
        found = {
            name: api.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        }
    assert found == dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), ("on",))


def test_the_servers_environment_holds_nothing_of_ours(server: EmbeddedPostgres) -> None:
    os.environ["SUANLI_TEST_SECRET"] = "hunter2"
    try:
        server.start()
        environment = Path(f"/proc/{server.process.pid}/environ").read_bytes()
    finally:
        del os.environ["SUANLI_TEST_SECRET"]
    assert b"hunter2" not in environment
    assert socket.gethostname().encode() not in environment
