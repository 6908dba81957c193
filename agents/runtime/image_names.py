"""PURE: names of container images, which registries a node takes them from, and credentials as a secret holds them.

A name is read as Docker reads it: `pytorch/pytorch:2.4` is `docker.io/pytorch/pytorch:2.4`, `busybox` is
`docker.io/library/busybox:latest` (distribution/reference, "familiar names").
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.runtime.spec import SpecError

DOCKER_HUB = "docker.io"
ANY_REGISTRY = "*"
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Names under which Docker's own files know its registry.
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


class ImageError(SpecError):
    """The image cannot be had, or not on this node; the sentence is for the researcher."""


@dataclass(frozen=True)
class ImageName:
    """An image in full: `repository` begins with its registry; one of tag and digest may be empty."""

    repository: str
    tag: str
    digest: str

    @property
    def registry(self) -> str:
        """Host, and port where it has one."""
        return self.repository.partition("/")[0]

    def at(self, digest: str) -> str:
        """As it is pulled by digest."""
        return f"{self.repository}@{digest}"

    def __str__(self) -> str:
        return self.at(self.digest) if self.digest else f"{self.repository}:{self.tag}"


def parse_image_name(text: str) -> ImageName:
    """Raises ImageError. A digest beside a tag decides, as for Docker."""
    rest, _, digest = text.partition("@")
    first, slash, _ = rest.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        rest = f"{DOCKER_HUB}/{rest}" if slash else f"{DOCKER_HUB}/library/{rest}"
    registry, _, path = rest.partition("/")
    path, colon, tag = path.partition(":")
    fine = (
        _HOST.fullmatch(registry)
        and all(_PART.fullmatch(part) for part in path.split("/"))
        and (not colon or _TAG.fullmatch(tag))
        and ("@" not in text or DIGEST.fullmatch(digest))
    )
    if not fine:
        raise ImageError(f"{text!r} is no name of an image: REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:... is")
    return ImageName(f"{registry}/{path}", tag or "latest", digest)


def is_registry(text: str) -> bool:
    """Whether an operator may list it: `*`, a registry, or a path in one."""
    host, *path = text.split("/")
    return text == ANY_REGISTRY or bool(_HOST.fullmatch(host) and all(_PART.fullmatch(p) for p in path))


def is_allowed(name: ImageName, registries: Sequence[str]) -> bool:
    """Whether the image lies in one of the registries, or below one of their paths, that the operator has listed."""
    return any(
        allowed == ANY_REGISTRY or f"{name.repository}/".startswith(f"{allowed}/") for allowed in registries
    )


def auth_file(name: ImageName, secret: str, value: bytes) -> bytes:
    """The auth.json (containers-auth.json(5)) that the pull of this image is given; `{}` where `value` is empty.

    A secret holds `USER:PASSWORD`, or JSON with `username` and `password`, or a whole auth.json as `podman login`
    and `docker login` write it. Of that only the plain entries are taken over: the names of helper programs in it
    would be run as the agent. Raises ImageError, in which nothing of the value is said.
    """
    if not value:
        return b"{}"
    wrong = ImageError(
        f"the secret {secret} holds no credentials of a registry: USER:PASSWORD, JSON with username and password, "
        "or an auth.json is wanted"
    )
    try:
        text = value.decode("utf-8").strip()
        read = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        raise wrong from None
    if read is None:
        user, colon, password = text.partition(":")
        entries = {name.registry: _entry(user, password)} if user and colon and password else {}
    elif "auths" in read:
        entries = _entries(read["auths"])
    else:
        user, password = read.get("username"), read.get("password")
        plain = isinstance(user, str) and isinstance(password, str) and user and password
        entries = {name.registry: _entry(user, password)} if plain else {}
    if not entries:
        raise wrong
    return json.dumps({"auths": entries}).encode()


def _entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _entries(auths: object) -> dict[str, dict[str, str]]:
    found = {}
    for key, entry in auths.items() if isinstance(auths, dict) else ():
        auth = entry.get("auth") if isinstance(entry, dict) else None
        try:
            plain = isinstance(auth, str) and b":" in base64.b64decode(auth, validate=True)
        except (binascii.Error, ValueError):
            plain = False
        if plain:
            found[DOCKER_HUB if key in _HUB_KEYS else key] = {"auth": str(auth)}
    return found
