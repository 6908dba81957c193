"""Time stamps beside the published tiles: `timestamps/SIZE.tsr`, and `timestamps/SIZE.checkpoint` that it is over."""

from dataclasses import dataclass

from scheduler.storage.objects import Place, open_objects

_FOLDER, _ANSWER, _STAMPED = "timestamps", ".tsr", ".checkpoint"


@dataclass(frozen=True, slots=True)
class KeptStamp:
    """An authority's answer and the signed log checkpoint of `size` entries that it stamped."""

    size: int
    stamped: bytes
    answer: bytes


class StampStore:
    """Every method raises OSError where the place cannot be read or written."""

    def __init__(self, place: Place) -> None:
        self._objects = open_objects(place)

    def put(self, size: int, stamped: bytes, answer: bytes) -> None:
        """Keep a stamp: the answer last, so that it never stands without what it is over."""
        self._objects.write(f"{_FOLDER}/{size}{_STAMPED}", stamped)
        self._objects.write(f"{_FOLDER}/{size}{_ANSWER}", answer)

    def newest(self, at_most: int | None = None) -> KeptStamp | None:
        """The stamp of the largest tree, of at most so many entries; None where there is none."""
        names = [
            name.removesuffix(_ANSWER) for name in self._objects.names(_FOLDER) if name.endswith(_ANSWER)
        ]
        sizes = [int(name) for name in names if name.isdigit() and (at_most is None or int(name) <= at_most)]
        if not sizes:
            return None
        size = max(sizes)
        stamped = self._objects.read(f"{_FOLDER}/{size}{_STAMPED}")
        answer = self._objects.read(f"{_FOLDER}/{size}{_ANSWER}")
        return None if stamped is None or answer is None else KeptStamp(size, stamped, answer)
