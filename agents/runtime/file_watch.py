"""Being woken when files change: inotify(7), so that an idle agent sleeps and output leaves at once."""

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_IGNORED = 0x8000
_IN_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Calls back when something happens in a folder; a period of polling stands behind it (`lossy`)."""

    def __init__(self) -> None:
        """Where the host gives us no inotify instance every watch is refused and polling must do."""
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._descriptor = _libc.inotify_init1(_IN_FLAGS)
        if self._descriptor >= 0:
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def add(self, folder: Path, mask: int, callback: Callable[[], None]) -> int | None:
        """Watch a folder; a token for `remove`, or None where the host's limit is reached."""
        if self._descriptor < 0:
            return None
        token: int = _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if token < 0:
            return None
        self._callbacks[token] = callback
        return token

    def remove(self, token: int | None) -> None:
        """Stop watching; the folder may be gone already."""
        if token is not None and self._callbacks.pop(token, None) is not None:
            _libc.inotify_rm_watch(self._descriptor, token)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return
            raise
        position = 0
        woken: dict[int, None] = {}
        while position < len(data):
            token, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            if mask & IN_IGNORED:
                self._callbacks.pop(token, None)
            else:
                woken[token] = None
        for token in woken:
            callback = self._callbacks.get(token)
            if callback is not None:
                callback()

    def close(self) -> None:
        """Stop watching everything."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
