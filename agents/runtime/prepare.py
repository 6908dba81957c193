"""Making a task ready: folders, user, reach, and for task rank 0 the port of the rendezvous."""

import errno
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.runtime import task_files
from agents.runtime.image_names import ImageError
from agents.runtime.images import ImageRoot, Images
from agents.runtime.isolation import Isolation, needs_of
from agents.runtime.launch import Places
from agents.runtime.spec import SpecError, TaskSpec, check_spec
from agents.runtime.task_files import VolumeLaunch
from agents.runtime.volumes import make_own, open_inner, root_of, touches

_log = logging.getLogger("agents.tasks")

SPEC = "spec.json"
# What the shim reads in the task's view: Python and ourselves.
OWN_FOLDERS = (sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]))
Bring = Callable[[TaskSpec, Path, int | None], None]
LayOut = Callable[[Images, TaskSpec], ImageRoot]


@dataclass
class Preparation:
    """What a ready task holds until it is launched or released."""

    spec: TaskSpec
    folder: Path
    uid: int | None
    places: Places
    working_directory: str
    isolation: str
    closed_nodes: tuple[str, ...] | None = None  # of the task's own view of the host; None: it has none
    volumes: tuple[VolumeLaunch, ...] = ()
    image: ImageRoot | None = None
    port: int = 0
    held: socket.socket | None = None  # keeps the port from others until the task is launched

    def release(self) -> None:
        """Let go of the port."""
        if self.held is not None:
            self.held.close()
            self.held = None


@dataclass(frozen=True)
class Preparer:
    """Makes tasks of one node ready."""

    tasks: Path
    checkpoint_root: Path
    devices: int
    rendezvous_address: str
    isolation: Isolation
    closed_nodes: Callable[[Sequence[int]], Sequence[str]]
    """The device nodes of the node that a task with these devices must not reach."""
    volume_roots: tuple[str, ...] = ()  # plain paths; nothing else of the host is ever a volume
    images: Images | None = None  # None: no container is run here

    def prepare(
        self,
        spec: TaskSpec,
        bring: Bring = lambda _spec, _folder, _uid: None,
        lay_out: LayOut = lambda images, spec: images.lay_out(spec, threading.Event(), lambda _: None),
    ) -> Preparation:
        """Blocks for as long as the file systems do, for `bring`, which unpacks what was sent along, and for
        `lay_out`, which pulls the image.

        Raises SpecError with a sentence, ImageError where it is the image's fault, or OSError.
        """
        check_spec(spec, self.devices)
        self._require_view(spec)
        uid = self.isolation.user_of(spec)
        folder = self.tasks / spec.allocation_id
        earlier = read_spec(folder)
        working_directory = spec.working_directory or str(folder / "work")
        self._make_folders(folder, uid)
        volumes = self._volumes(spec, uid)
        image = self._image(spec, folder, earlier, lay_out)
        bring(spec, folder / "work", uid)
        named = spec.model_checkpoint_directory if spec.model_checkpoint else ""
        closed_nodes = tuple(self.closed_nodes(spec.devices))
        self.isolation.check_reach(
            uid, lambda: needs_of(spec, working_directory, named or None), closed_nodes, volumes
        )
        places = Places(
            home=str(folder / "home"),
            temporary=str(folder / "tmp"),
            results=str(folder / task_files.RESULTS),
            step_report=str(folder / task_files.REPORT / task_files.STEP_REPORT),
            model_checkpoints=(named or self._own_checkpoints(spec, uid)) if spec.model_checkpoint else None,
        )
        preparation = Preparation(
            spec,
            folder,
            uid,
            places,
            working_directory,
            isolation=self.isolation.level,
            closed_nodes=closed_nodes if self.isolation.private_view else None,
            volumes=volumes,
            image=image,
        )
        if spec.rank == 0:
            wished = int(earlier["port"]) if earlier else 0
            preparation.held = reserve_port(self.rendezvous_address, wished)
            preparation.port = preparation.held.getsockname()[1]
        value = {
            "spec": spec.to_json(),
            "uid": uid,
            "port": preparation.port,
            "isolation": preparation.isolation,
            "image_digest": image.digest if image else "",
        }
        task_files.write_json(str(folder / SPEC), value)
        return preparation

    def _image(
        self, spec: TaskSpec, folder: Path, earlier: dict[str, Any] | None, lay_out: LayOut
    ) -> ImageRoot | None:
        """A root of the task's image; prepared a second time, of the very image that was found the first time."""
        if not spec.image:
            return None
        if self.images is None:
            raise ImageError("this node runs no container images (its agent's log says why)")
        digest = spec.image_digest or (earlier or {}).get("image_digest", "")
        # Before there is anything to remove, so that it is known to be there when the folder is removed.
        task_files.write_json(str(folder / task_files.IMAGE), {"image": spec.image})
        root = lay_out(self.images, replace(spec, image_digest=digest))
        task_files.write_json(str(folder / task_files.IMAGE), {"image": spec.image, "digest": root.digest})
        return root

    def remove(self, folder: Path) -> None:
        """Remove a task's folder, and the root of its image. Raises OSError."""
        if self.images is not None and (folder / task_files.IMAGE).exists():
            self.images.remove([folder.name])
        remove(folder)

    def _require_view(self, spec: TaskSpec) -> None:
        """Refuse by name what only a task with a view of its own can be given. Raises SpecError."""
        if spec.volumes and not self.isolation.private_view:
            raise SpecError(
                f"this node gives tasks no view of the host of their own (isolation namespace), so the volume "
                f"{spec.volumes[0].name} cannot lie at {spec.volumes[0].mount_path}"
            )
        if spec.image and not self.isolation.private_view:
            raise ImageError("this node gives tasks no view of the host of their own, so it runs no images")
        file = next((secret.file for secret in spec.secrets if secret.file), None)
        if file is not None and not self.isolation.private_view:
            raise SpecError(
                f"this node gives tasks no view of the host of their own, so nothing private can lie at {file}: "
                "ask for the secret as a variable (environment)"
            )

    def _volumes(self, spec: TaskSpec, uid: int | None) -> tuple[VolumeLaunch, ...]:
        """Where the task's volumes are, with the firm's own folders made. Raises SpecError.

        The sentences are the researcher's: they do not tell where folders of the host are.
        """
        found = []
        for volume in spec.volumes:
            root = root_of(volume.host_path, self.volume_roots)
            if root is None:
                raise SpecError(
                    f"this node's operator has not opened the volume {volume.name} (--volume-root)"
                )
            for own in (str(self.tasks.parent), str(self.checkpoint_root), *OWN_FOLDERS):
                if touches(volume.mount_path, own):
                    raise SpecError(
                        f"the volume {volume.name} cannot lie at {volume.mount_path} on this node"
                    )
            inner = volume.host_path[len(root) + 1 :]
            try:
                if volume.own and uid is not None:
                    make_own(root, inner, spec.firm_id, uid)
                inner = "/".join(filter(None, (inner, spec.firm_id if volume.own else "")))
                os.close(open_inner(root, inner))
            except OSError as error:
                reason = "a link leads there" if error.errno == errno.ELOOP else error.strerror
                raise SpecError(f"the volume {volume.name} cannot be opened on this node: {reason}") from None
            found.append(
                VolumeLaunch(
                    name=volume.name,
                    root=root,
                    inner=inner,
                    mount_path=volume.mount_path,
                    read_only=volume.read_only,
                )
            )
        return tuple(found)

    def _make_folders(self, folder: Path, uid: int | None) -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711 if self.isolation.root else 0o700)
        (folder / task_files.OUTPUT).mkdir(exist_ok=True, mode=0o700)
        for name in (task_files.REPORT, task_files.RESULTS, "home", "tmp", "work"):
            (folder / name).mkdir(exist_ok=True, mode=0o700)
            if self.isolation.root:
                owner = os.geteuid() if uid is None else uid
                os.chown(folder / name, owner, owner, follow_symlinks=False)

    def _own_checkpoints(self, spec: TaskSpec, uid: int | None) -> str:
        """FIRM/JOB below the agent's folder. The firm's own folder belongs to root, so that nothing in it
        can be swapped for a link between our making it and our giving it away."""
        firm = self.checkpoint_root / spec.firm_id
        crossed = 0o711 if self.isolation.root else 0o700
        try:
            for folder in (self.checkpoint_root, firm):
                if not os.path.lexists(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    folder.chmod(crossed)
            _require_own(firm)
            job = firm / spec.job_id
            job.mkdir(exist_ok=True, mode=0o700)
            if job.is_symlink():
                raise SpecError(f"{job} is a link, not a folder for model checkpoints")
            if uid is not None and job.stat().st_uid != uid:
                os.chown(job, uid, uid, follow_symlinks=False)
        except OSError as error:
            raise SpecError(
                f"the model checkpoint folder below {firm} cannot be made: {error.strerror}"
            ) from None
        return str(job)


def _require_own(folder: Path) -> None:
    """Refuse a firm's folder that somebody else made: its owner could swap what lies in it. Raises SpecError."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SpecError(f"{folder} must be a folder that belongs to the agent and that nobody else may write")


def reserve_port(address: str, wished: int) -> socket.socket:
    """A bound, not listening socket: nobody else is given its port. Raises SpecError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in {wished: None, 0: None}:
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((address, port))
        except OSError as error:
            held.close()
            reason = error.strerror
        else:
            return held
    raise SpecError(f"no port for the rendezvous on {address}: {reason}")


def read_spec(folder: Path) -> dict[str, Any] | None:
    """What an earlier life of the agent had prepared in the folder."""
    value: dict[str, Any] | None = task_files.read_json(str(folder / SPEC))
    return value


def remove(folder: Path) -> None:
    """Remove a task's folder and all that the job left in it (links are not followed). Raises OSError.

    By `rm`, because a job may nest folders deeper than Python's recursion goes.
    """
    done = subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(errno.EIO, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "rm failed")


def remove_or_say(preparer: Preparer, folder: Path) -> None:
    """Remove a forgotten task's folder; what cannot be removed is found again after a restart."""
    try:
        preparer.remove(folder)
    except OSError as error:
        _log.warning("the folder %s could not be removed: %s", folder, error.strerror)
