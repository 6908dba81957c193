"""How much of the disk images take, by what Podman's store says of itself and by what lies in it.

A layer of some megabytes may unpack to terabytes, so a pull is watched while it unpacks (`problem`).
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
LOOK_AGAIN_S = 1.0
SHARE_OF_TIME = 20  # a look takes no more than one part in so many


@dataclass(frozen=True)
class ImageStore:
    """Podman's store: its folder and driver, where it puts what it downloads, and what the operator allows."""

    folder: Path
    driver: str
    downloads: Path
    most_bytes: int
    least_free_bytes: int

    def size(self) -> int:
        """Bytes of all layers; those that are being unpacked are counted on the disk."""
        try:
            layers = json.loads((self.folder / f"{self.driver}-layers" / "layers.json").read_bytes() or b"[]")
        except FileNotFoundError:
            layers = []
        whole = sum(int(layer.get("diff-size") or 0) for layer in layers)
        parts = [layer["id"] for layer in layers if (layer.get("flags") or {}).get("incomplete")]
        return int(whole) + _on_disk([self.folder / self.driver / name for name in (*parts, "staging")])

    def lacks_room(self) -> str:
        """Why the disk has too little room; empty where it has enough."""
        for place in (self.folder, self.downloads):
            found = os.statvfs(place)
            if found.f_bavail * found.f_frsize < self.least_free_bytes:
                return (
                    f"the node keeps {self.least_free_bytes / GIB:g} GiB of its disk free of images "
                    "(--images-free-gib)"
                )
        return ""

    def too_large(self) -> str:
        """Why there is no place for more images; empty where there is."""
        if self.size() <= self.most_bytes:
            return ""
        return f"with it the node's images would take more than {self.most_bytes / GIB:g} GiB (--images-gib)"


class Watch:
    """Looks after the store during one pull; of the layers less often the longer a look takes."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._again_s = 0.0

    def problem(self) -> str:
        """Why the pull has to end; empty where it may go on."""
        problem = self._store.lacks_room()
        began_s = time.monotonic()
        if problem or began_s < self._again_s:
            return problem
        problem = self._store.too_large()
        ended_s = time.monotonic()
        self._again_s = ended_s + max(LOOK_AGAIN_S, SHARE_OF_TIME * (ended_s - began_s))
        return problem


def _on_disk(folders: list[Path]) -> int:
    there = [str(folder) for folder in folders if folder.is_dir()]
    if not there:
        return 0
    # It may go while it is counted: what `du` could not read is nothing that stays.
    said = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1", "--total", "--", *there],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return int(said.splitlines()[-1].split()[0]) if said else 0
