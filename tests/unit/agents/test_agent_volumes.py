"""Which folders of the host a volume can lead to."""

import os
from pathlib import Path

import pytest

from agents.runtime.private_view import make_place
from agents.runtime.volumes import is_plain, make_own, open_inner, root_of, touches


def test_a_folder_below_an_open_root_is_found_and_nothing_beside_it() -> None:
    assert root_of("/srv/volumes/a", ("/srv/other", "/srv/volumes")) == "/srv/volumes"
    assert root_of("/srv/volumes", ("/srv/volumes",)) == "/srv/volumes"
    assert root_of("/srv/volumes-of-others", ("/srv/volumes",)) is None
    assert root_of("/srv", ("/srv/volumes",)) is None
    assert root_of("/srv/volumes", ()) is None


@pytest.mark.parametrize("path", ["/", "", "a", "/a/../b", "/a/./b", "/a//b", "/a/"])
def test_a_path_that_is_not_written_plainly_is_none(path: str) -> None:
    assert not is_plain(path)


def test_a_place_at_above_or_below_what_the_agent_needs_touches_it() -> None:
    assert touches("/data/agent", "/data/agent")
    assert touches("/data", "/data/agent")
    assert touches("/data/agent/tasks/x", "/data/agent")
    assert not touches("/data/agents", "/data/agent")


def test_the_root_may_be_a_link_of_the_operator_but_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "disk" / "corpora").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    folder = open_inner(str(tmp_path / "root"), "corpora")
    assert os.stat(folder).st_ino == (tmp_path / "disk" / "corpora").stat().st_ino
    os.close(folder)
    (tmp_path / "disk" / "leads-out").symlink_to(tmp_path / "secret")
    (tmp_path / "disk" / "file").touch()
    for inner in ("leads-out", "corpora/../../secret", "file", "nothing"):
        with pytest.raises(OSError) if ".." not in inner else pytest.raises(AssertionError):
            assert is_plain(f"/{inner}")
            os.close(open_inner(str(tmp_path / "root"), inner))


def test_a_firm_is_given_a_folder_of_its_own_and_none_of_somebody_else(tmp_path: Path) -> None:
    uid = os.geteuid()
    for _ in range(2):
        make_own(str(tmp_path), "", "firm-a", uid)
    assert (tmp_path / "firm-a").stat().st_mode & 0o777 == 0o700
    with pytest.raises(OSError, match="belongs to another user"):
        make_own(str(tmp_path), "", "firm-a", uid + 1)
    (tmp_path / "firm-b").symlink_to(tmp_path / "firm-a")
    with pytest.raises(OSError, match="belongs to another user"):
        make_own(str(tmp_path), "", "firm-b", uid)
    tmp_path.chmod(0o777)
    with pytest.raises(OSError, match="others than the agent"):
        make_own(str(tmp_path), "", "firm-c", uid)


def test_a_place_in_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """Whoever may write there could swap the place for a link between the look and the mount."""
    for name, mode in (("open", 0o1777), ("closed", 0o700)):
        (tmp_path / name / "place").mkdir(parents=True)
        (tmp_path / name).chmod(mode)
        with pytest.raises(OSError, match=f"{name} on this node is not root's alone, or is closed to tasks"):
            make_place(str(tmp_path / name / "place"))
