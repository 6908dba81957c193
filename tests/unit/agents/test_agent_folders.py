"""What jobs leave behind is removed, whatever it is."""

import os
from pathlib import Path

import pytest

from agents.runtime.prepare import _require_own, remove
from agents.runtime.spec import SpecError


def test_folders_nested_deeper_than_python_recurses_are_removed(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    here = os.open(task, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    remove(task)
    assert not task.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "task")
    assert (tmp_path / "kept").is_dir()
    assert not (tmp_path / "task").exists()


def test_a_firms_checkpoint_folder_that_somebody_else_could_swap_is_refused(tmp_path: Path) -> None:
    firm = tmp_path / "firm"
    firm.mkdir()
    firm.chmod(0o777)
    with pytest.raises(SpecError, match="belongs to the agent"):
        _require_own(firm)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SpecError, match="belongs to the agent"):
        _require_own(tmp_path / "link")
    firm.chmod(0o711)
    _require_own(firm)
    assert firm.is_dir()
