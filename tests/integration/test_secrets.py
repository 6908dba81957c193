"""Secrets of firms: who may, what is stored, what is shown, and the one door by which a value leaves."""

import base64
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from scheduler.domain.authorise import Principal
from scheduler.domain.errors import Forbidden, NotFound, Unavailable
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.principals import Role, Scope
from scheduler.services.sealing import Sealed, SealingError, SecretKeys, new_key_file, without_old_keys
from scheduler.services.secrets import delete_secret, seal_anew, secrets_of_task, set_secret
from suanli.evidence.records import AdministrativeAct, parse_record
from tests.builders.api import ApiInstallation, InhabitedUrls, job_spec, running_api

VALUE = "hf_Xk29-打开"
TOKEN = {"name": "hub", "environment": "HUB_TOKEN"}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    (tmp_path / "secrets.keys").write_text(new_key_file())
    async with running_api(inhabited_urls, tmp_path, secret_keys=tmp_path / "secrets.keys") as running:
        yield running


async def given(installation: ApiInstallation, spec: dict[str, object], firm: str = "lanjing") -> list[bytes]:
    """What the gateway would hand to a task of this job."""
    async with installation.gateway.read() as session:
        keys = SecretKeys(installation.config.secret_keys)
        read = spec_from_json(job_spec(**spec))
        found = await secrets_of_task(session, keys, installation.firms[firm], read)
    return [secret.value for secret in found]


async def put(installation: ApiInstallation, person: str, value: str = VALUE, path: str = "hub") -> int:
    answer = await installation.as_(person).put(f"/v1/secrets/{path}", json={"secret": value})
    assert value not in answer.text
    return answer.status_code


async def test_a_secret_is_kept_encrypted_listed_without_its_value_and_opened_for_a_task(
    installation: ApiInstallation,
) -> None:
    assert await put(installation, "lin") == 200
    listed = await installation.as_("wang").get("/v1/secrets")
    (secret,) = listed.json()["secrets"]
    assert (secret["name"], secret["project"], secret["bytes"], secret["updated_by"]) == (
        *("hub", None, len(VALUE.encode()), "lin"),
    )
    async with installation.api.database.read() as session:
        row = (await session.execute(text("SELECT * FROM secrets"))).one()
    assert VALUE.encode() not in bytes(row.sealed)
    assert await given(installation, {"secrets": [TOKEN]}) == [VALUE.encode()]


async def test_who_set_and_deleted_a_secret_stands_in_the_evidence_log_without_its_name_or_value(
    installation: ApiInstallation,
) -> None:
    await put(installation, "lin")
    listed = await installation.as_("lin").get("/v1/secrets")
    secret_id = listed.json()["secrets"][0]["secret_id"]
    await put(installation, "lin", "another value")
    assert (await installation.as_("lin").delete("/v1/secrets/hub")).status_code == 204
    assert (await installation.as_("lin").delete("/v1/secrets/hub")).status_code == 404
    async with installation.api.database.read() as session:
        found = await session.execute(
            text("SELECT type, body FROM evidence_intake WHERE fact LIKE 'secret/%' ORDER BY intake_id")
        )
        bodies = [(parse_record(row.type, row.body), bytes(row.body)) for row in found]
    acts = [record for record, _ in bodies if isinstance(record, AdministrativeAct)]
    assert [(act.act, act.subject) for act in acts] == [
        ("secret_set", secret_id),
        ("secret_set", secret_id),
        ("secret_deleted", secret_id),
    ]
    assert {act.actor_role for act in acts} == {"researcher"}
    sealed = sha256(VALUE.encode()).hexdigest().encode()
    assert not any(b"hub" in body or VALUE.encode() in body or sealed in body for _, body in bodies)


async def test_another_firm_has_nothing_of_it(installation: ApiInstallation) -> None:
    await put(installation, "lin")
    zhao = installation.as_("zhao")
    assert (await zhao.get("/v1/secrets")).json()["secrets"] == []
    assert (await zhao.delete("/v1/secrets/hub")).status_code == 404
    with pytest.raises(NotFound, match="the secret hub is there no more"):
        await given(installation, {"secrets": [TOKEN]}, firm="beiming")


async def test_the_secret_of_a_project_counts_before_the_firms(installation: ApiInstallation) -> None:
    await put(installation, "lin", "of the firm")
    await put(installation, "lin", "of the project", "hub?project=vision")
    assert await given(installation, {"secrets": [TOKEN], "project": "vision"}) == [b"of the project"]
    assert await given(installation, {"secrets": [TOKEN]}) == [b"of the firm"]
    unknown = await installation.as_("lin").put("/v1/secrets/hub?project=nowhere", json={"secret": "x"})
    assert unknown.json()["errors"][0]["field"] == "project"


async def test_a_job_that_names_a_secret_that_is_not_there_is_refused_with_the_field(
    installation: ApiInstallation,
) -> None:
    lin = installation.as_("lin")
    spec = job_spec(secrets=[TOKEN])
    refused = await lin.post("/v1/jobs", json=spec)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "secrets[0].name"
    await put(installation, "lin")
    accepted = await lin.post("/v1/jobs", json=spec)
    assert accepted.status_code == 201
    assert VALUE not in (await lin.get(f"/v1/jobs/{accepted.json()['job_id']}")).text


@pytest.mark.parametrize(
    "body",
    [
        {"secret": ["hf_Xk29"]},
        {"secret": "hf_Xk29" * 20_000},
        {"secret": "hf_Xk29!", "encoding": "base64"},
        {"secret": "hf_Xk29", "more": 1},
        {"secret": ""},
    ],
)
async def test_a_refusal_does_not_repeat_the_value(
    installation: ApiInstallation, body: dict[str, object]
) -> None:
    answer = await installation.as_("lin").put("/v1/secrets/hub", json=body)
    assert answer.status_code == 422
    assert "hf_Xk29" not in answer.text


async def test_any_bytes_can_be_kept(installation: ApiInstallation) -> None:
    raw = bytes(range(256))
    body = {"secret": base64.b64encode(raw).decode(), "encoding": "base64"}
    assert (await installation.as_("lin").put("/v1/secrets/hub", json=body)).status_code == 200
    assert await given(installation, {"secrets": [{"name": "hub", "file": "/run/secrets/hub"}]}) == [raw]


async def test_keys_are_rotated_without_losing_a_secret(installation: ApiInstallation) -> None:
    await put(installation, "lin")
    path = installation.config.secret_keys
    first = json.loads(path.read_text())["current"]
    path.write_text(new_key_file(path.read_text()))
    assert await given(installation, {"secrets": [TOKEN]}) == [VALUE.encode()]  # by the old key
    async with installation.api.database.transaction() as session:
        assert await seal_anew(session, SecretKeys(path)) == 1
        assert await seal_anew(session, SecretKeys(path)) == 0
    path.write_text(without_old_keys(path.read_text()))
    assert first not in path.read_text()
    assert await given(installation, {"secrets": [TOKEN]}) == [VALUE.encode()]
    path.write_text(new_key_file())  # another installation's
    with pytest.raises(Unavailable, match="does not hold the key"):
        await given(installation, {"secrets": [TOKEN]})


def test_what_was_changed_or_moved_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(new_key_file())
    keys = SecretKeys(tmp_path / "keys")
    sealed = keys.seal(b"value", "firm-a/hub")
    assert keys.open(sealed, "firm-a/hub") == b"value"
    assert keys.seal(b"value", "firm-a/hub") != sealed
    turned = Sealed(sealed.key_id, sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))
    for other, place in ((sealed, "firm-b/hub"), (turned, "firm-a/hub")):
        with pytest.raises(SealingError, match="has been changed"):
            keys.open(other, place)


@pytest.mark.parametrize("content", ["", "{}", '{"current": "k1", "keys": {"k1": "c2hvcnQ="}}', "[]"])
def test_a_key_file_that_is_none_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SealingError, match="holds no keys"):
        SecretKeys(tmp_path / "keys").seal(b"", "")
    with pytest.raises(SealingError, match="cannot be read"):
        SecretKeys(tmp_path / "none").seal(b"", "")


@pytest.mark.parametrize("project", ["speech", None])
async def test_who_is_kept_to_projects_changes_no_secret_of_others(
    installation: ApiInstallation, project: str | None
) -> None:
    kept = Principal(
        "p",
        "guest",
        "user",
        Role.RESEARCHER,
        installation.firms["lanjing"],
        Scope.ADMINISTRATION,
        ("research",),
    )
    keys, ids = SecretKeys(installation.config.secret_keys), installation.api.config.ids
    async with installation.api.database.transaction() as session:
        with pytest.raises(Forbidden, match="may act in the projects research, not"):
            await set_secret(session, kept, keys, name="hub", project=project, value=b"x", now_ms=1, ids=ids)
        with pytest.raises(Forbidden, match="may act in the projects research, not"):
            await delete_secret(session, kept, "hub", project, now_ms=1, ids=ids)
