"""Users of firms, and the real try whether they reach what they need."""

import os
from pathlib import Path

import pytest

from agents.runtime.isolation import Isolation, Needs, UidRange, as_user, obstacle, preferred_uid
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


def test_a_firm_keeps_its_user_and_no_two_firms_share_one() -> None:
    isolation = Isolation(Book(), UIDS, accept_none=False, root=True)
    users = [isolation.user_of(spec(firm_id=f"firm-{n}")) for n in range(3)]
    assert sorted(uid for uid in users if uid) == [400_000, 400_001, 400_002]
    assert [isolation.user_of(spec(firm_id=f"firm-{n}")) for n in range(3)] == users
    with pytest.raises(SpecError, match="every user id from 400000 to 400002 is in use"):
        isolation.user_of(spec(firm_id="one-more"))


def test_a_firms_user_is_the_same_on_every_node() -> None:
    wide = UidRange(400_000, 499_999)
    assert preferred_uid("firm", wide) == preferred_uid("firm", wide)
    first = Isolation(Book(), wide, accept_none=False, root=True).user_of(spec(firm_id="firm"))
    assert first == preferred_uid("firm", wide)


def test_without_root_a_node_serves_one_firm_only_unless_accepted() -> None:
    book = Book()
    isolation = Isolation(book, UIDS, accept_none=False, root=False)
    assert isolation.user_of(spec(firm_id="first")) is None
    assert isolation.user_of(spec(firm_id="first")) is None
    with pytest.raises(SpecError, match="one firm only"):
        isolation.user_of(spec(firm_id="second"))
    accepting = Isolation(book, UIDS, accept_none=True, root=False)
    assert accepting.user_of(spec(firm_id="second")) is None


def test_what_is_there_is_no_obstacle(tmp_path: Path) -> None:
    wanted = tmp_path / "made" / "below"
    assert obstacle(needs(directory=str(tmp_path), make=str(wanted))) == ""
    assert wanted.is_dir()


def test_obstacles_are_named(tmp_path: Path) -> None:
    assert "not found" in obstacle(needs(program="no-such-program"))
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
        own = Isolation(Book(), UIDS, accept_none=False, root=True)
        assert own.settle(400_000, needs(directory=str(folder))) == 400_000
        with pytest.raises(SpecError, match=r"cannot read .*: the folder .*secret is closed to it"):
            own.settle(400_000, needs(directory=str(folder), script=str(secret / "script.py")))
        accepting = Isolation(Book(), UIDS, accept_none=True, root=True)
        assert accepting.settle(400_000, needs(directory=str(secret))) is None
