"""A registry of container images for tests: Debian's docker-registry on loopback, with a password, and one image.

The image is put together here byte by byte, so that its digest is known; of the host it needs a static busybox.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.builders.e2e import wait_until
from tests.builders.running import ending

USER, PASSWORD = "alice", "correct horse: battery"
REPOSITORY = "team/tools"
PROGRAMS = ("podman", "runc", "docker-registry", "busybox")
LINKS = ("sh", "cat", "env", "httpd", "id", "ls", "readlink", "sleep", "touch", "tty")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def why_no_containers() -> str:
    """What the host lacks; empty where it has everything. In CI nothing may be lacking."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    problem = f"not installed: {', '.join(missing)}" if missing else ""
    if os.geteuid() != 0:
        problem = "an agent that runs containers is root"
    if os.environ.get("CI") == "true":
        assert not problem, problem
    return problem


needs_containers = pytest.mark.skipif(bool(why_no_containers()), reason=why_no_containers() or "-")


@dataclass(frozen=True)
class Registry:
    """A running registry that holds `image`, and what makes an agent's Podman use it and a store in `folder`."""

    folder: Path
    port: int
    digest: str

    @property
    def image(self) -> str:
        """Its one image, by tag."""
        return f"127.0.0.1:{self.port}/{REPOSITORY}:1"

    def push_large(self, size: int) -> str:
        """One more image, which is small in the registry and unpacks to `size` bytes; its name."""
        _push(f"http://127.0.0.1:{self.port}", _large_layer(size), "team/large")
        return f"127.0.0.1:{self.port}/team/large:1"

    @property
    def environment(self) -> dict[str, str]:
        """For the agent: nothing outside of the folder is used."""
        return {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
        }

    def podman(self, *arguments: str) -> str:
        """What Podman says of the agent's store."""
        done = subprocess.run(
            ["podman", *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _hashed(password: str) -> str:
    """By bcrypt, the one kind that the registry reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import crypt
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))  # noqa: S324 - bcrypt


def _layer() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("tmp", 0o1777), ("open", 0o777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        busybox = tarfile.TarInfo("bin/busybox")
        data = Path(shutil.which("busybox") or "").read_bytes()
        busybox.mode, busybox.size = 0o755, len(data)
        tar.addfile(busybox, io.BytesIO(data))
        for name in LINKS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        # What a careless or hostile image may have: a link at a path where a folder of the host is to lie.
        trap = tarfile.TarInfo("data")
        trap.type, trap.linkname = tarfile.SYMTYPE, "/../../etc"
        tar.addfile(trap)
        # One that leads the host's root out of the image, one that stays in it, and a device that runc opens to all.
        for name, leads in (("out", "/proc/1/root"), ("way", "open")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, leads
            tar.addfile(link)
        device = tarfile.TarInfo("zero")
        device.type, device.mode, device.devmajor, device.devminor = tarfile.CHRTYPE, 0o666, 1, 5
        tar.addfile(device)
    return packed.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _large_layer(size: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        zeros = tarfile.TarInfo("zeros")
        zeros.size = size
        tar.addfile(zeros, io.BytesIO(bytes(size)))
    return packed.getvalue()


def _push(url: str, layer: bytes, repository: str = REPOSITORY) -> str:
    """An image into the registry (OCI distribution specification, "pushing"); its digest."""
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {
                "Env": [
                    "PATH=/bin",
                    "OF_IMAGE=yes",
                    "TOKEN=of the image",
                    "SUANLI_SIMULATED=no",
                    "NVIDIA_REQUIRE_CUDA=x",
                ],
                "Entrypoint": ["/no/such/entry"],
                "User": "0",
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    with httpx.Client(base_url=f"{url}/v2/{repository}", auth=(USER, PASSWORD)) as client:
        for blob in (packed, config):
            place = client.post("/blobs/uploads/").raise_for_status().headers["location"]
            whole = httpx.URL(place).copy_merge_params({"digest": _digest(blob)})
            client.put(whole, content=blob).raise_for_status()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": _digest(config),
                    "size": len(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "digest": _digest(packed),
                        "size": len(packed),
                    }
                ],
            }
        ).encode()
        client.put("/manifests/1", content=manifest, headers={"content-type": MANIFEST}).raise_for_status()
    return _digest(manifest)


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """A registry and the configuration of a Podman whose store lies in `folder`."""
    port = _free_port()
    (folder / "htpasswd").write_text(f"{USER}:{_hashed(PASSWORD)}\n")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
    )
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n')
    configuration = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/blobs"}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}},
    }
    (folder / "registry.yml").write_text(json.dumps(configuration))  # YAML holds JSON
    with (folder / "registry.log").open("wb") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", folder / "registry.yml"], stdout=log, stderr=log
        )
    with ending(server):
        wait_until(lambda: _answers(port), "the registry answers", seconds=30)
        registry = Registry(folder, port, _push(f"http://127.0.0.1:{port}", _layer()))
        yield registry
        registry.podman("rm", "--all", "--force", "--time", "0")


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/").status_code == httpx.codes.UNAUTHORIZED
    except httpx.TransportError:
        return False


def credentials() -> bytes:
    """What opens the registry, as `podman login` writes it for this one."""
    return f"{USER}:{PASSWORD}".encode()


def auth_json(host: str) -> bytes:
    """The same as an auth.json, with a helper program in it that must never be run."""
    entry = base64.b64encode(credentials()).decode()
    return json.dumps({"auths": {host: {"auth": entry}}, "credHelpers": {host: "evil"}}).encode()
