"""Volumes of pools: declared by operators, known to the firms named, and to nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.builders.api import ApiInstallation, InhabitedUrls, job_spec, running_api

CORPORA = {"name": "corpora", "host_path": "/srv/volumes/corpora", "firms": ["lanjing"], "shared": True}


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def declare(installation: ApiInstallation, *volumes: object) -> Any:
    pool = {"name": "haidian", "patience_seconds": 30, "volumes": list(volumes)}
    return (await installation.as_("ops").post("/v1/apply", json={"pools": [pool]})).json()


async def volumes_of(installation: ApiInstallation, person: str) -> Any:
    pools = (await installation.as_(person).get("/v1/pools")).json()["pools"]
    return next(pool["volumes"] for pool in pools if pool["name"] == "haidian")


async def asked(installation: ApiInstallation, person: str, **volume: object) -> Any:
    """What a job that asks for it is told."""
    spec = job_spec(volumes=[{"name": "corpora", "mount_path": "/mnt/corpora", **volume}])
    answer = await installation.as_(person).post("/v1/jobs/validate", json=spec)
    return answer.json()


async def test_a_volume_is_shown_to_operators_whole_and_to_its_firms_without_its_folder(
    installation: ApiInstallation,
) -> None:
    await declare(installation, CORPORA)
    assert await volumes_of(installation, "ops") == [{**CORPORA, "read_only": True}]
    unknown = {"host_path": None, "firms": None}
    assert await volumes_of(installation, "lin") == [{**CORPORA, "read_only": True, **unknown}]
    one = await installation.as_("lin").get("/v1/pools/haidian")
    assert "/srv/volumes" not in one.text
    assert (await installation.as_("ops").get("/v1/pools/haidian")).json()["volumes"] == [
        {**CORPORA, "read_only": True}
    ]


async def test_a_file_that_says_nothing_of_volumes_leaves_them_and_an_empty_list_takes_them_away(
    installation: ApiInstallation,
) -> None:
    applied = await declare(installation, CORPORA)
    (change,) = applied["changes"]
    assert [difference["field"] for difference in change["differences"]] == ["volumes"]
    again = await declare(installation, CORPORA)
    assert again["changes"][0]["outcome"] == "unchanged"
    await installation.as_("ops").post("/v1/apply", json={"pools": [{"name": "haidian"}]})
    assert len(await volumes_of(installation, "ops")) == 1
    await declare(installation)
    assert await volumes_of(installation, "ops") == []


async def test_a_firm_that_is_not_named_is_told_what_it_is_told_of_a_volume_that_is_not_there(
    installation: ApiInstallation,
) -> None:
    nowhere = await asked(installation, "lin")
    await declare(installation, {**CORPORA, "firms": ["beiming"]})
    of_others = await asked(installation, "lin")
    for answer in (nowhere, of_others):
        answer.pop("instance", None)
        answer.pop("request_id", None)
    assert nowhere == of_others
    assert nowhere["errors"][0]["field"] == "volumes[0].name"


async def test_a_job_may_name_the_object_stores_of_its_pools_and_secrets_that_are_there(
    installation: ApiInstallation,
) -> None:
    ops, lin = installation.as_("ops"), installation.as_("lin")

    async def fields(**item: object) -> list[str]:
        spec = job_spec(inputs=[{"path": "corpus", "object": "s3://corpora/wudao", **item}])
        answer = (await lin.post("/v1/jobs/validate", json=spec)).json()
        return [error["field"] for error in answer.get("errors", ())]

    assert await fields() == ["inputs[0].store"]
    stores: list[dict[str, str]] = [
        {"name": "minio", "endpoint": "http://10.1.0.9:9000"},
        {"name": "obs", "endpoint": "https://obs.cn-north-4.myhuaweicloud.com", "region": "cn-north-4"},
    ]
    whole = [{"region": "us-east-1", "addressing": "path", **store} for store in stores]

    async def declare_stores(*declared: object) -> Any:
        pool = {"name": "haidian", "patience_seconds": 30, "object_stores": list(declared)}
        return (await ops.post("/v1/apply", json={"pools": [pool]})).json()

    await declare_stores(stores[0])
    agents_too_old = ["inputs[0]"]  # the store is no matter any more
    assert await fields() == agents_too_old  # the only one
    await declare_stores(*stores)
    assert (await lin.get("/v1/pools")).json()["pools"][0]["object_stores"] == whole
    await declare(installation, CORPORA)  # says nothing of stores: they stay
    assert await fields(store="obs") == agents_too_old
    assert await fields() == await fields(store="oss") == ["inputs[0].store"]
    assert await fields(store="obs", credentials="none-there") == ["inputs[0].credentials"]
    for wrong in (
        "ftp://host",
        "https://host/path",
        "http://169.254.169.254",
        "https://a b",
        "https://u@host",
    ):
        refused = await declare_stores({**stores[0], "endpoint": wrong})
        assert [error["field"] for error in refused["errors"]] == ["pools[0].object_stores[0].endpoint"], (
            wrong
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"firms": ["nobody"]}, "pools[0].volumes[0].firms"),
        ({"firms": []}, "pools[0].volumes[0].firms"),
        ({"host_path": "srv"}, "pools[0].volumes[0].host_path"),
        ({"host_path": "/srv/../etc"}, "pools[0].volumes[0].host_path"),
        ({"name": "Not A Name"}, "pools[0].volumes[0].name"),
        ({"colour": "red"}, "pools[0].volumes[0].colour"),
    ],
)
async def test_a_volume_that_cannot_be_is_refused_by_field(
    installation: ApiInstallation, changes: dict[str, object], field: str
) -> None:
    refused = await declare(installation, {**CORPORA, **changes})
    assert field in {error["field"] for error in refused["errors"]}
    assert await volumes_of(installation, "ops") == []
