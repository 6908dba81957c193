from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def checkpoints(load_finetune_module: Callable[[str], ModuleType]) -> ModuleType:
    return load_finetune_module("model_checkpoints")


def test_the_newest_is_that_of_the_highest_step(checkpoints: ModuleType, tmp_path: Path) -> None:
    for attempt, step in ((1, 20), (1, 100), (2, 40)):
        checkpoints.save_model_checkpoint(tmp_path, step=step, attempt=attempt, payload=f"{step}".encode())

    newest, payload = next(checkpoints.whole_model_checkpoints(tmp_path))

    assert (newest.step, newest.attempt, payload) == (100, 1, b"100")


def test_of_equal_steps_the_later_attempt_counts(checkpoints: ModuleType, tmp_path: Path) -> None:
    for attempt in (1, 10, 2):
        checkpoints.save_model_checkpoint(tmp_path, step=20, attempt=attempt, payload=f"{attempt}".encode())

    assert next(checkpoints.whole_model_checkpoints(tmp_path))[1] == b"10"


def test_a_damaged_file_is_passed_over_for_the_one_before(checkpoints: ModuleType, tmp_path: Path) -> None:
    checkpoints.save_model_checkpoint(tmp_path, step=20, attempt=1, payload=b"whole")
    cut_short = checkpoints.save_model_checkpoint(tmp_path, step=40, attempt=1, payload=b"cut short")
    cut_short.write_bytes(b"cut")

    found = [(saved.step, payload) for saved, payload in checkpoints.whole_model_checkpoints(tmp_path)]

    assert found == [(20, b"whole")]


def test_a_save_that_was_cut_off_is_never_chosen(checkpoints: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".attempt-1.unfinished").write_bytes(b"half")
    (tmp_path / "step-00000099.pt").write_bytes(b"somebody else's")

    assert list(checkpoints.whole_model_checkpoints(tmp_path)) == []


def test_a_folder_that_does_not_exist_yet_holds_none(checkpoints: ModuleType, tmp_path: Path) -> None:
    assert checkpoints.list_model_checkpoints(tmp_path / "none") == []


def test_only_the_newest_are_kept(checkpoints: ModuleType, tmp_path: Path) -> None:
    for step in range(10, 70, 10):
        checkpoints.save_model_checkpoint(tmp_path, step=step, attempt=1, payload=b"x")

    assert [saved.step for saved in checkpoints.list_model_checkpoints(tmp_path)] == [60, 50, 40]
    assert len(list(tmp_path.iterdir())) == checkpoints.KEPT


def test_what_an_earlier_attempt_left_half_written_is_cleared(
    checkpoints: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / ".attempt-1.unfinished").write_bytes(b"dead")
    (tmp_path / ".attempt-3.unfinished").write_bytes(b"a later attempt is saving")

    checkpoints.save_model_checkpoint(tmp_path, step=10, attempt=2, payload=b"x")

    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("."))
    assert left == [".attempt-3.unfinished"]
