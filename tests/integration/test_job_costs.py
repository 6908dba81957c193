"""What a job has cost so far and may cost to its end. A device-hour costs 12.50 CNY."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from scheduler.domain.time import HOUR_MS
from tests.builders.api import ApiInstallation, InhabitedUrls, running_api


@pytest_asyncio.fixture
async def installation(inhabited_urls: InhabitedUrls, tmp_path: Path) -> AsyncIterator[ApiInstallation]:
    async with running_api(inhabited_urls, tmp_path) as running:
        yield running


async def running_job(installation: ApiInstallation, **spec: Any) -> str:
    """On two devices from now."""
    job_id = await installation.submit(gang={"devices": 2}, **spec)
    node_id, devices = await installation.add_node("node-2")
    await installation.set_state(job_id, started_ms=installation.clock.now_ms)
    await installation.add_attempt(job_id, node_id, devices[:2])
    return job_id


async def cost(installation: ApiInstallation, job_id: str) -> dict[str, Any]:
    answer = await installation.as_("lin").get(f"/v1/jobs/{job_id}/cost")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_running_job_costs_what_it_holds_and_its_estimate_tells_the_rest(
    installation: ApiInstallation,
) -> None:
    job_id = await running_job(installation, estimate_seconds=7_200, budget={"amount_cny": "100"})
    installation.clock.now_ms += HOUR_MS // 2
    assert await cost(installation, job_id) == {
        "job_id": job_id,
        "charged_cny": "0.00",
        "held_cny": "12.50",
        "per_hour_cny": "25.00",
        "to_end_cny": "37.50",
        "basis": "estimate",
        "budget_cny": "100.00",
    }


async def test_an_elastic_gang_costs_an_hour_what_it_runs_on(installation: ApiInstallation) -> None:
    gang = {"devices": 16, "devices_per_node": 8, "elastic": {"min_devices": 8, "max_devices": 16}}
    await installation.add_node("node-3")
    job_id = await installation.submit(gang=gang)
    node_id, devices = await installation.add_node("node-2")
    assert (await cost(installation, job_id))["per_hour_cny"] == "200.00"
    await installation.add_attempt(job_id, node_id, devices)
    assert (await cost(installation, job_id))["per_hour_cny"] == "100.00"


async def test_a_job_that_waits_has_cost_nothing_and_its_time_limit_is_the_most_to_come(
    installation: ApiInstallation,
) -> None:
    found = await cost(installation, await installation.submit(time_limit_seconds=3_600))
    assert (found["held_cny"], found["to_end_cny"], found["basis"]) == ("0.00", "12.50", "time_limit")
    beyond = await installation.submit(time_limit_seconds=3_600, estimate_seconds=9_000)
    found = await cost(installation, beyond)
    assert (found["to_end_cny"], found["basis"]) == ("12.50", "estimate")
    unknown = await cost(installation, await installation.submit())
    assert (unknown["per_hour_cny"], unknown["to_end_cny"], unknown["basis"]) == ("12.50", None, None)
