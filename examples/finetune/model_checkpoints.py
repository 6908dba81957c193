"""Model checkpoints on disk: atomic to write, proved whole before use. Needs no PyTorch.

``step-00000040.attempt-2.9f86d081884c7d65.pt`` was saved after 40 steps by attempt 2, and its SHA-256 begins
with 9f86d081884c7d65. The attempt is in the name so that two attempts never write to the same file, even when
the first is still dying on a node that nobody can reach; the digest is there so that a file that a full disk
cut short is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEPT = 3  # two to fall back on, should the newest be damaged
_NAME = re.compile(r"step-(\d{8})\.attempt-(\d+)\.([0-9a-f]{16})\.pt")
_UNFINISHED = re.compile(r"\.attempt-(\d+)\.unfinished")


@dataclass(frozen=True, order=True)
class ModelCheckpoint:
    """A file that a name says is a model checkpoint. Ordered by step, then attempt."""

    step: int
    attempt: int
    path: Path


def list_model_checkpoints(folder: Path) -> list[ModelCheckpoint]:
    """What the folder holds, newest first; other files are nobody's business here."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            found.append(ModelCheckpoint(int(match[1]), int(match[2]), path))
    return sorted(found, reverse=True)


def whole_model_checkpoints(folder: Path) -> Iterator[tuple[ModelCheckpoint, bytes]]:
    """Model checkpoints whose bytes are those that were saved, newest first, with their bytes."""
    for candidate in list_model_checkpoints(folder):
        try:
            payload = candidate.path.read_bytes()
        except FileNotFoundError:  # pruned by the process that saves, between listing and reading
            continue
        if candidate.path.name.split(".")[2] == _digest(payload):
            yield candidate, payload


def save_model_checkpoint(folder: Path, *, step: int, attempt: int, payload: bytes) -> Path:
    """Save and return the path; after a crash at any moment the folder holds the old files or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".attempt-{attempt}.unfinished"
    with unfinished.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    path = folder / f"step-{step:08d}.attempt-{attempt}.{_digest(payload)}.pt"
    unfinished.replace(path)
    _sync_folder(folder)
    _prune(folder, attempt)
    return path


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(folder: Path, attempt: int) -> None:
    for old in list_model_checkpoints(folder)[KEPT:]:
        old.path.unlink(missing_ok=True)
    for path in folder.iterdir():
        match = _UNFINISHED.fullmatch(path.name)
        if match and int(match[1]) < attempt:  # left behind by an attempt that was killed while saving
            path.unlink(missing_ok=True)
