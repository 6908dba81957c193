"""What images take of the disk, by what Podman's store says of itself and by what lies in it.

A layer of some megabytes may unpack to terabytes, so a pull is watched while it unpacks (`problem`). What a pull that
was ended leaves are whole layers without an image, which no command of Podman's removes: an image that names them, and
brings nothing else, makes them Podman's to remove (`claim`).
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

GIB = 1 << 30
LOOK_AGAIN_S = 1.0
SHARE_OF_TIME = 20  # a look takes no more than one part in so many


@dataclass(frozen=True)
class ImageStore:
    """Podman's store: its folder and driver, where the agent's pulls put what they download, and its bounds."""

    folder: Path
    driver: str
    downloads: Path
    most_bytes: int
    least_free_bytes: int

    def size(self) -> int:
        """Bytes of all layers; those that are being unpacked are counted on the disk."""
        whole = sum(int(layer.get("diff-size") or 0) for layer in self._said("layers"))
        return whole + _on_disk([*self.parts(), self.folder / self.driver / "staging", self.downloads])

    def parts(self) -> list[Path]:
        """Layers that are being unpacked, or were when their Podman ended."""
        return [self.folder / self.driver / layer["id"] for layer in self._said("layers") if _is_part(layer)]

    def left_over(self, since_s: float) -> list[list[str]]:
        """Layers made since then (Unix time) that no image or container has: of each the digests from the lowest on."""
        layers = {layer["id"]: layer for layer in self._said("layers") if not _is_part(layer)}
        tops = [image.get("layer") for image in self._said("images")]
        tops += [layer for image in self._said("images") for layer in image.get("mapped-layers") or ()]
        tops += [container.get("layer") for container in self._said("containers")]
        owned = {layer["id"] for top in tops for layer in _chain(layers, top)}
        below = {layer.get("parent") for layer in layers.values()}
        chains = [_chain(layers, name) for name in layers if name not in owned | below]
        return [
            [layer["diff-digest"] for layer in chain]
            for chain in chains
            if datetime.fromisoformat(chain[-1]["created"]).timestamp() >= since_s
            and all("diff-digest" in layer for layer in chain)
        ]

    def _said(self, of: str) -> list[dict[str, Any]]:
        try:
            kept = (self.folder / f"{self.driver}-{of}" / f"{of}.json").read_bytes()
        except FileNotFoundError:
            return []
        found: list[dict[str, Any]] = json.loads(kept or b"[]")
        return found

    def lacks_room(self) -> str:
        """Why the disk has too little room; empty where it has enough."""
        found = os.statvfs(self.folder)
        if found.f_bavail * found.f_frsize >= self.least_free_bytes:
            return ""
        return f"the node keeps {self.least_free_bytes / GIB:g} GiB of its disk free of images (--images-free-gib)"

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


def claim(folder: Path, digests: list[str]) -> Path:
    """An image of these layers that holds none of them, for a store that has them (`podman pull dir:...`).

    The format is that of containers/image's directory transport; manifest and configuration are OCI's.
    """
    rootfs = {"type": "layers", "diff_ids": digests}
    configuration = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    name = hashlib.sha256(configuration).hexdigest()
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {
            "mediaType": f"{kind}.config.v1+json",
            "digest": f"sha256:{name}",
            "size": len(configuration),
        },
        "layers": [{"mediaType": f"{kind}.layer.v1.tar", "digest": digest, "size": 1} for digest in digests],
    }
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / name).write_bytes(configuration)
    return folder


def _is_part(layer: dict[str, Any]) -> bool:
    return bool((layer.get("flags") or {}).get("incomplete"))


def _chain(layers: dict[str, dict[str, Any]], top: str | None) -> list[dict[str, Any]]:
    """From the lowest layer to `top`."""
    found: list[dict[str, Any]] = []
    while top in layers:
        found.append(layers[top])
        top = layers[top].get("parent")
    return found[::-1]


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
