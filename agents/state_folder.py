"""The agent's folder: who may see what, and that one agent only works in it.

    node.json                 ids of the node and its devices, window length   0600
    window.key                Ed25519 seed that signs windows                  0600
    tls.key tls.crt           the agent's own certificate                      0600
    spool.db                  windows, fence, firms                            0600
    tasks/ALLOCATION/         one task (see runtime/task_files.py)
    model_checkpoints/        unless --checkpoint-root says otherwise

The folder is 0700. Where tasks run under other users (agent as root) it is 0711, so that they reach their
own folders below `tasks` by name; they can list nothing and read none of the files above.
"""

import fcntl
import os
from pathlib import Path

from agents.refusals import StateLocked, StateUnusable


class StateFolder:
    """The folder, locked for the life of this object."""

    def __init__(self, path: Path, crossed_by_tasks: bool) -> None:
        """Raises StateUnusable or StateLocked."""
        self.path = path.absolute()
        self._mode = 0o711 if crossed_by_tasks else 0o700
        try:
            path.mkdir(parents=True, exist_ok=True, mode=self._mode)
            path.chmod(self._mode)
            self.tasks.mkdir(exist_ok=True, mode=self._mode)
            self.tasks.chmod(self._mode)
            self._lock = os.open(path / "agent.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnusable(f"the state folder {path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateLocked(
                f"another agent runs on the state folder {path}; one agent per folder"
            ) from None

    @staticmethod
    def is_enrolled(path: Path) -> bool:
        """True where the folder belongs to a node already."""
        return (path / "node.json").exists()

    @property
    def tasks(self) -> Path:
        """Folder of the task folders."""
        return self.path / "tasks"

    @property
    def samples(self) -> Path:
        """Folder of the raw samples."""
        return self.path / "samples"

    @property
    def spool(self) -> Path:
        """The spool's database."""
        return self.path / "spool.db"

    def read(self, name: str) -> bytes | None:
        """Content of a file of the folder, None where there is none. Raises StateUnusable."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusable(f"{self.path / name} cannot be read: {error.strerror}") from None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file of the folder, durably, 0600. Raises StateUnusable."""
        path = self.path / name
        temporary = path.with_name(name + ".new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            folder = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise StateUnusable(f"{path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Let another agent in."""
        os.close(self._lock)
