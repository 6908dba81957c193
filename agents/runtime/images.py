"""Images of containers on this host, kept by Podman: pulled, laid out as a root for one task, removed again.

Podman is used as a store alone. What runs in a root is started by an OCI runtime under the task's shim
(`oci_config.py`), so that a task in an image is measured, signalled and ended like any other, and so that neither
its environment nor its secrets come into Podman's database. A root is that of a Podman container which is never
started: `podman ps -a` shows it, and no pruning of images takes what lies below it.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.runtime.image_names import ImageError, ImageName, auth_file, is_allowed, parse_image_name
from agents.runtime.image_store import GIB, ImageStore, Watch, claim
from agents.runtime.spec import TaskSpec

LABEL = "suanli.state"
LOOK_S = 0.2
COMMAND_PATIENCE_S = 120.0
END_PATIENCE_S = 5.0
# Of the agent's own environment: where Podman keeps things, and how it reaches registries.
_PASSED = ("CONTAINERS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_", "STORAGE_")
# What registries and the network say (distribution API specification, "error codes"), by what it means.
_MEANINGS = (
    ("manifest unknown", "there is no such image in its registry"),
    ("name unknown", "there is no such image in its registry"),
    ("repository name not known", "there is no such image in its registry"),
    ("unauthorized", "its registry refuses access"),
    ("authentication required", "its registry refuses access"),
    ("denied", "its registry refuses access, or there is no such image"),
    ("forbidden", "its registry refuses access"),
    ("toomanyrequests", "its registry takes no more requests for now"),
    ("no such host", "its registry cannot be reached: the name of its host is not known"),
    ("connection refused", "its registry cannot be reached: the connection was refused"),
    ("no route to host", "its registry cannot be reached: there is no route to it"),
    ("network is unreachable", "its registry cannot be reached: there is no route to it"),
    ("timeout", "its registry cannot be reached: it does not answer"),
    ("x509", "its registry's certificate is not trusted on this node"),
    ("server gave http response", "its registry speaks no TLS, and this node does not allow that"),
    ("no space left", "the node's disk is full"),
    ("no image found in image index for architecture", "it is not made for this node's processors"),
    ("rejected by policy", "the signature policy of this node refuses it"),
)

_log = logging.getLogger("agents.images")


@dataclass(frozen=True)
class ImageRoot:
    """An image laid out for one task. `environment` is what the image sets."""

    digest: str
    path: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Images:
    """The images of one node. `registries` are those that its operator has listed."""

    podman: str
    registries: tuple[str, ...]
    state: str  # the agent's state folder: tells its containers from another agent's
    store: ImageStore
    version: str = ""
    _choosing: threading.Lock = field(default_factory=threading.Lock, compare=False)
    _pulls: list[str] = field(default_factory=list, compare=False)  # that are running

    def lay_out(self, spec: TaskSpec, stopped: threading.Event, say: Callable[[str], None]) -> ImageRoot:
        """Pull the task's image and give it a root. Blocks for as long as the registry does.

        Raises ImageError, also when `stopped` is set meanwhile.
        """
        name = parse_image_name(spec.image)
        if not is_allowed(name, self.registries):
            raise ImageError(
                f"this node takes no images from {name.repository}; its operator has opened "
                f"{', '.join(self.registries)} (--image-registries)"
            )
        wanted = name.at(spec.image_digest) if spec.image_digest else str(name)
        self._make_room()
        say(f"pulls the image {wanted}")
        started_s = time.monotonic()
        image_id = self._pull(wanted, spec, name, stopped)
        found = self._image(image_id)
        digest = spec.image_digest or name.digest or self._digest(found, spec, name, stopped)
        say(f"has pulled the image {name.at(digest)} in {time.monotonic() - started_s:.0f} s")
        config = found.get("Config") or {}
        with self._choosing:
            self._used(image_id).touch()
            root = self._root(spec.allocation_id, image_id)
        if problem := self._make_room():
            self.remove([spec.allocation_id])
            self._make_room()
            raise ImageError(f"the image {wanted} cannot be kept: {problem}")
        return ImageRoot(digest, root, _variables(config.get("Env") or ()))

    def _used(self, image_id: str) -> Path:
        """The file whose time says when the image was used last; only what this agent has pulled has one."""
        folder = Path(self.state) / "images"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / image_id.removeprefix("sha256:")

    def _make_room(self) -> str:
        """Remove images that no task uses, those first that were used least lately, until the rest is small enough.

        Why it is not, where it is not.
        """
        with self._choosing:
            problem = self.store.too_large()
            if not problem:
                return ""
            busy = set(self._run(["ps", "--all", "--no-trunc", "--format", "{{.ImageID}}"]).stdout.split())
            busy = {name.removeprefix("sha256:") for name in busy}
            files = sorted(self._used("x").parent.iterdir(), key=lambda file: file.stat().st_mtime)
            for file in files:
                if file.name not in busy:
                    _log.info("removes the image %s to make room", file.name)
                    self._run(["rmi", "--force", "--ignore", file.name])
                    file.unlink()
                    problem = self.store.too_large()
                    if not problem:
                        break
            return problem

    def _pull(self, wanted: str, spec: TaskSpec, name: ImageName, stopped: threading.Event) -> str:
        """The id of the image. Credentials are in memory that no name leads to, and gone with Podman."""
        self._begin(wanted)
        credentials = os.memfd_create("auth.json", os.MFD_CLOEXEC)
        try:
            os.write(credentials, auth_file(name, spec.image_secret, spec.image_credentials))
            authority = f"/proc/self/fd/{credentials}"
            done = self._run(
                ["pull", "--quiet", "--authfile", authority, wanted],
                stopped,
                keep=(credentials,),
                patience_s=None,
                watch=Watch(self.store),
            )
        finally:
            os.close(credentials)
            self._end(wanted)
        if done.returncode != 0:
            raise ImageError(f"the image {wanted} cannot be pulled: {self._meaning(done.stderr, spec)}")
        return done.stdout.strip().splitlines()[-1]

    def _begin(self, wanted: str) -> None:
        with self._choosing:
            self._pulls.append(wanted)
            self.store.downloads.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                self._mark.touch(exist_ok=False)

    def _end(self, wanted: str) -> None:
        """A pull that was ended may have brought its image all the same: it is among those that may be removed."""
        with self._choosing:
            self._pulls.remove(wanted)
            known = self._run(["image", "inspect", "--format", "{{.Id}}", wanted]).stdout.strip()
            if known and not self._used(known).exists():
                self._used(known).touch()
        self._tidy()

    @property
    def _mark(self) -> Path:
        """There while a pull runs, and after it until what it left is gone; its time is when the first one began."""
        return Path(self.state) / "images.pulling"

    def _tidy(self) -> None:
        """Remove what pulls that were ended left. Somebody's own pull at this very moment may have to begin again."""
        with self._choosing:
            if self._pulls or not self._mark.exists():
                return
            if self.store.parts():
                self._run(
                    ["images", "--quiet"]
                )  # whatever reads the layers removes parts of which no Podman is left
            for digests in self.store.left_over(self._mark.stat().st_mtime - 1):
                folder = claim(self.store.downloads / "claim", digests)
                done = self._run(["pull", "--quiet", f"dir:{folder}"])
                if done.returncode == 0:
                    done = self._run(["rmi", "--force", done.stdout.split()[-1]])
                if done.returncode != 0:
                    _log.warning(
                        "podman cannot remove layers of a pull that was ended: %s",
                        done.stderr.strip()[-1000:],
                    )
            shutil.rmtree(self.store.downloads, ignore_errors=True)
            self._mark.unlink()

    def _meaning(self, said: str, spec: TaskSpec) -> str:
        """A sentence for the researcher. What Podman said in full is the operator's: it may hold addresses."""
        last = said.strip().splitlines()[-1] if said.strip() else "podman ended without a word"
        _log.warning("podman pull for task %s: %s", spec.allocation_id, last[:1000])
        lower = last.lower()
        meaning = next(
            (sentence for mark, sentence in _MEANINGS if mark in lower), "see the agent's log on the node"
        )
        if "refuses access" in meaning:
            how = f"with the secret {spec.image_secret}" if spec.image_secret else "without image_credentials"
            return f"{meaning} ({how})"
        return meaning

    def _digest(
        self, found: dict[str, Any], spec: TaskSpec, name: ImageName, stopped: threading.Event
    ) -> str:
        """By which the registry knows what was pulled. Where this host has met the same image under several,
        the registry is asked."""
        digests = sorted({str(text).rpartition("@")[2] for text in found.get("RepoDigests") or ()})
        if len(digests) == 1:
            return digests[0]
        for digest in digests:
            with suppress(ImageError):
                self._pull(name.at(digest), spec, name, stopped)
                return digest
        raise ImageError(f"the registry knows no digest of the image {name}")

    def _image(self, image_id: str) -> dict[str, Any]:
        done = self._run(["image", "inspect", image_id])
        if done.returncode != 0:
            raise self._failure("look at an image", done)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def _root(self, allocation_id: str, image_id: str) -> str:
        """Where the root of a new, never started container lies on the host."""
        name = container_name(allocation_id)
        self.remove([allocation_id])
        options = ["--quiet", "--pull=never", "--network=host", "--image-volume=ignore", "--entrypoint", ""]
        options += ["--name", name, "--label", f"{LABEL}={self.state}"]
        made = self._run(["create", *options, image_id, "/never-run"])
        if made.returncode != 0:
            raise self._failure("make a root", made)
        mounted = self._run(["mount", name])
        if mounted.returncode != 0:
            raise self._failure("mount a root", mounted)
        return mounted.stdout.strip()

    def remove(self, allocation_ids: Iterable[str]) -> None:
        """Remove the roots of tasks; what is not there is fine."""
        names = [container_name(allocation_id) for allocation_id in allocation_ids]
        if names:
            done = self._run(["rm", "--force", "--ignore", "--time", "0", *names])
            if done.returncode != 0:
                _log.warning("podman rm: %s", done.stderr.strip()[-1000:])

    def sweep(self, kept: Iterable[str]) -> None:
        """Remove the roots of this agent's tasks of which nothing else is left."""
        done = self._run(["ps", "--all", "--filter", f"label={LABEL}={self.state}", "--format", "{{.Names}}"])
        mine = {container_name(allocation_id): allocation_id for allocation_id in kept}
        prefix = container_name("")
        left = [name.removeprefix(prefix) for name in done.stdout.split() if name not in mine]
        self.remove(left)
        self._tidy()

    def _failure(self, step: str, done: "subprocess.CompletedProcess[str]") -> ImageError:
        _log.warning("podman cannot %s: %s", step, done.stderr.strip()[-1000:])
        return ImageError(f"the node's podman cannot {step} of the image; see the agent's log on the node")

    def _run(
        self,
        arguments: Sequence[str],
        stopped: threading.Event | None = None,
        keep: tuple[int, ...] = (),
        patience_s: float | None = COMMAND_PATIENCE_S,
        watch: Watch | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """One command of Podman's. Raises ImageError where it is stopped or takes too long."""
        started_s = time.monotonic()
        environment = engine_environment()
        if watch is not None:
            environment["TMPDIR"] = str(self.store.downloads)
        running = subprocess.Popen(
            [self.podman, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=keep,
            start_new_session=True,
            cwd="/",
        )
        while True:
            with suppress(subprocess.TimeoutExpired):
                out, errors = running.communicate(timeout=LOOK_S)
                return subprocess.CompletedProcess(running.args, running.returncode, out, errors)
            problem = watch.problem() if watch is not None else ""
            late = patience_s is not None and time.monotonic() - started_s > patience_s
            if late or problem or (stopped is not None and stopped.is_set()):
                _end_group(running)
                if problem:
                    raise ImageError(f"the image cannot be pulled: {problem}")
                reason = "does not answer" if late else "was stopped"
                raise ImageError(f"the node's podman {reason} (podman {arguments[0]})")


def _end_group(running: "subprocess.Popen[str]") -> None:
    """End a command and what it started. One that not even SIGKILL ends (a disk that does not answer) is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=END_PATIENCE_S)
            return
    _log.error("podman %s cannot be ended", running.pid)


def engine_environment() -> dict[str, str]:
    """For Podman and the OCI runtime: nothing of a job, and of the agent's own what the operator means for them."""
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED)}
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", **passed}


def container_name(allocation_id: str) -> str:
    """Of a task's root in Podman's list."""
    return f"suanli-{allocation_id}"


def _variables(texts: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts) if name}


def find_images(
    podman: str, registries: tuple[str, ...], state: Path, most_gib: int, least_free_gib: int
) -> Images | str:
    """The host's store of images, or why there is none."""
    path = shutil.which(podman)
    if path is None:
        return f"there is no program {podman}"
    try:
        done = subprocess.run(
            [path, "info", "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_PATIENCE_S,
            env=engine_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} cannot be run: {error}"
    if done.returncode != 0:
        return f"{path} says nothing of itself: {done.stderr.strip()[-200:]}"
    said = json.loads(done.stdout)
    kept = said["store"]
    own = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:16]
    folder = Path(kept["graphRoot"])  # where only root may write: what is checked there stays as it is
    store = ImageStore(
        folder, kept["graphDriverName"], folder / f"suanli-{own}", most_gib * GIB, least_free_gib * GIB
    )
    return Images(path, registries, str(state), store, said["version"]["Version"])
