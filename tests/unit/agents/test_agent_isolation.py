"""Users of firms, and the real try whether they reach what they need."""

import os
import pwd
import signal
from pathlib import Path

import pytest

from agents.core.separation import NAMESPACE, NONE, UID
from agents.runtime.isolation import Isolation, Needs, UidRange, as_user, in_child, needs_of, obstacle
from agents.runtime.spec import SpecError
from tests.builders.agents import reachable_folder, spec

UIDS = UidRange(400_000, 400_002)


class Book:
    """Keeps users in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, int | None] = {}

    def firms(self) -> dict[str, int | None]:
        """Everything kept."""
        return dict(self.kept)

    def note_firm(self, firm_id: str, uid: int | None) -> None:
        """Keep one."""
        self.kept[firm_id] = uid


def needs(
    program: str = "sh", directory: str = "/", script: str | None = None, make: str | None = None
) -> Needs:
    """What a task must reach."""
    return Needs(program, "/usr/bin:/bin", directory, script, make)


def isolation(book: Book | None = None, **changes: bool) -> Isolation:
    """As root, on a host that can do everything, unless told otherwise."""
    values = {"accept_none": False, "root": True, "private_view": True, "nodes_known": True, **changes}
    return Isolation(book or Book(), UIDS, **values)


def test_a_firms_tasks_run_as_the_user_that_the_control_plane_names() -> None:
    book = Book()
    assert isolation(book).user_of(spec(firm_id="firm", firm_uid=400_002)) == 400_002
    assert book.kept == {"firm": 400_002}


@pytest.mark.parametrize("uid", [0, 1, 999, 399_999, 400_003, 2**31])
def test_a_user_that_is_not_for_firms_is_refused(uid: int) -> None:
    with pytest.raises(SpecError, match=f"user id {uid} .* this node takes 400000 to 400002"):
        isolation().user_of(spec(firm_uid=uid))


def test_an_account_of_the_host_is_refused_whatever_the_operator_takes_for_firms() -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    wide = Isolation(Book(), UidRange(1, nobody), accept_none=False, root=True)
    with pytest.raises(SpecError, match="is that of an account of this host"):
        wide.user_of(spec(firm_uid=nobody))
    with pytest.raises(SpecError, match=f"takes 1000 to {nobody}"):
        wide.user_of(spec(firm_uid=33))


def test_the_user_of_one_firm_is_never_that_of_another() -> None:
    book = Book()
    isolation(book).user_of(spec(firm_id="first", firm_uid=400_001))
    with pytest.raises(SpecError, match="is that of firm first on this node"):
        isolation(book).user_of(spec(firm_id="second", firm_uid=400_001))


def test_what_is_claimed_is_what_the_host_can_do() -> None:
    assert isolation().level == NAMESPACE
    assert isolation(nodes_known=False).level == UID
    assert isolation(private_view=False).level == UID
    assert isolation(root=False).level == NONE
    accepting = isolation(accept_none=True)
    assert (accepting.level, accepting.private_view) == (NONE, False)


def test_who_accepts_no_isolation_gets_none_for_every_task_and_no_job_can_choose() -> None:
    accepting = isolation(accept_none=True)
    assert {accepting.user_of(spec(firm_id=f"firm-{n}")) for n in range(3)} == {None}


def test_without_root_a_node_serves_one_firm_only_unless_accepted() -> None:
    book = Book()
    rootless = isolation(book, root=False)
    assert rootless.user_of(spec(firm_id="first")) is None
    assert rootless.user_of(spec(firm_id="first")) is None
    with pytest.raises(SpecError, match="one firm only"):
        rootless.user_of(spec(firm_id="second"))
    assert isolation(book, accept_none=True, root=False).user_of(spec(firm_id="second")) is None


def test_what_is_there_is_no_obstacle(tmp_path: Path) -> None:
    wanted = tmp_path / "made" / "below"
    assert obstacle(needs(directory=str(tmp_path), make=str(wanted))) == ""
    assert wanted.is_dir()


def test_obstacles_are_named(tmp_path: Path) -> None:
    assert "finds no program no-such-program in PATH" in obstacle(needs(program="no-such-program"))
    assert "cannot enter the working directory" in obstacle(needs(directory=str(tmp_path / "absent")))
    (tmp_path / "file").touch()
    assert "cannot make the model checkpoint folder" in obstacle(needs(make=str(tmp_path / "file" / "x")))
    plain = tmp_path / "plain"
    plain.write_text("not executable")
    assert "not executable" in obstacle(needs(program=str(plain)))


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_the_try_is_made_as_that_user() -> None:
    assert as_user(400_000, lambda: f"{os.getuid()} {os.geteuid()} {os.getgid()} {os.getgroups()}") == (
        "400000 400000 400000 [400000]"
    )
    with reachable_folder() as folder:
        secret = folder / "secret"
        secret.mkdir(mode=0o700)
        (secret / "script.py").touch()
        own = isolation(private_view=False)
        own.check_reach(400_000, lambda: needs(directory=str(folder)), ())
        with pytest.raises(SpecError, match=r"cannot read .*: the folder .*secret is closed to it"):
            own.check_reach(
                400_000, lambda: needs(directory=str(folder), script=str(secret / "script.py")), ()
            )


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_refusal_does_not_tell_whether_anothers_file_exists() -> None:
    def refusal(folder: Path, name: str) -> str:
        path = str(folder / "secret" / name)
        wanted = spec(command=(path, path), environment={"PATH": "/usr/bin"})
        with pytest.raises(SpecError) as caught:
            isolation(private_view=False).check_reach(
                400_000, lambda: needs_of(wanted, str(folder), None), ()
            )
        return str(caught.value).replace(name, "NAME")

    with reachable_folder() as folder:
        (folder / "secret").mkdir(mode=0o700)
        (folder / "secret" / "there").write_text("#!/bin/sh")
        (folder / "secret" / "there").chmod(0o755)
        assert refusal(folder, "there") == refusal(folder, "away")


def test_a_probe_that_was_killed_has_not_found_everything_well() -> None:
    def end() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    assert in_child(end) == "was killed while it was tried"
    assert in_child(lambda: "") == ""
