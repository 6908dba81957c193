"""What jobs leave behind is removed, whatever it is."""

import os
from pathlib import Path

from agents.runtime.prepare import remove


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
    assert (tmp_path / "kept").is_dir() and not (tmp_path / "task").exists()
