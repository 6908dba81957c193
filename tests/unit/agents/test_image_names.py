"""Names of images, the registries that a node takes them from, and what a secret may hold."""

import base64
import json

import pytest

from agents.runtime.image_names import ImageError, auth_file, is_allowed, is_registry, parse_image_name

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "whole", "registry"),
    [
        ("busybox", "docker.io/library/busybox:latest", "docker.io"),
        ("pytorch/pytorch:2.4", "docker.io/pytorch/pytorch:2.4", "docker.io"),
        ("r.example/a/b/c:1", "r.example/a/b/c:1", "r.example"),
        ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000"),
        ("localhost/a", "localhost/a:latest", "localhost"),
        ("[fd00::1]:5000/a:v", "[fd00::1]:5000/a:v", "[fd00::1]:5000"),
        (f"r.example/a:1@{DIGEST}", f"r.example/a@{DIGEST}", "r.example"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(text: str, whole: str, registry: str) -> None:
    name = parse_image_name(text)
    assert (str(name), name.registry) == (whole, registry)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a b",
            "-evil",
            "--root/x:1",
            "r.example/A:1",
            "r.example/a:",
            "r.example//a",
            "a/../b",
            "a:b:c",
        ),
        *(
            "r.example/a@sha256:short",
            "r.example/a@",
            "docker://a/b",
            "oci:/etc",
            "a/b\n",
            "r.example:port/a",
        ),
    ],
)
def test_what_is_no_name_never_reaches_podman(text: str) -> None:
    with pytest.raises(ImageError, match="is no name of an image: REGISTRY/NAME:TAG"):
        parse_image_name(text)


@pytest.mark.parametrize(
    ("registries", "allowed"),
    [
        ([], False),
        (["*"], True),
        (["r.example"], True),
        (["r.example/team"], True),
        (["r.example/team/tools"], True),
        (["r.example/te"], False),
        (["r.example/other", "other.example"], False),
        (["r.exampl"], False),
    ],
)
def test_an_image_comes_from_where_the_operator_allows_it(registries: list[str], allowed: bool) -> None:
    assert all(is_registry(registry) for registry in registries)
    assert is_allowed(parse_image_name("r.example/team/tools:1"), registries) is allowed


@pytest.mark.parametrize(
    "text", ["", "https://r.example", "r.example/", "R.example", "a b", "r.example/../x"]
)
def test_what_is_no_registry_is_none(text: str) -> None:
    assert not is_registry(text)


ENTRY = {"auth": base64.b64encode(b"alice:p:w").decode()}


@pytest.mark.parametrize(
    ("value", "auths"),
    [
        (b"alice:p:w\n", {"r.example": ENTRY}),
        (b'{"username": "alice", "password": "p:w"}', {"r.example": ENTRY}),
        (json.dumps({"auths": {"other.example": ENTRY}}).encode(), {"other.example": ENTRY}),
        (json.dumps({"auths": {"https://index.docker.io/v1/": ENTRY}}).encode(), {"docker.io": ENTRY}),
        # Helper programs that a file names would be run as the agent: nothing of them is taken over.
        (
            json.dumps(
                {
                    "auths": {"r.example": ENTRY, "x": {}},
                    "credHelpers": {"r.example": "evil"},
                    "credsStore": "e",
                }
            ).encode(),
            {"r.example": ENTRY},
        ),
    ],
)
def test_credentials_are_read_in_three_forms(value: bytes, auths: object) -> None:
    assert json.loads(auth_file(parse_image_name("r.example/a:1"), "reg", value)) == {"auths": auths}


def test_without_credentials_none_are_given_not_even_the_operators_own() -> None:
    assert auth_file(parse_image_name("r.example/a:1"), "", b"") == b"{}"


@pytest.mark.parametrize(
    "value",
    [
        b"alice",
        b"alice:",
        b":pw",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"auths": 3}',
        b'{"username": "a"}',
        b'{"auths":{"r":{"auth":"!"}}}',
    ],
)
def test_what_holds_no_credentials_is_refused_without_a_word_of_it(value: bytes) -> None:
    with pytest.raises(ImageError) as refusal:
        auth_file(parse_image_name("r.example/a:1"), "reg", value)
    assert str(refusal.value) == (
        "the secret reg holds no credentials of a registry: USER:PASSWORD, JSON with username and password, "
        "or an auth.json is wanted"
    )
