"""Calls about what surrounds a job: what it costs, what its webhook was told, the secrets that it may name."""

from __future__ import annotations

import base64
from typing import Any, TypedDict, cast

from suanli.client.transport import Transport, path_segment


class Secret(TypedDict):
    """A secret without its value; `project` None: the whole firm's."""

    secret_id: str
    name: str
    project: str | None
    bytes: int
    updated_by: str
    updated_at: str


class JobCost(TypedDict):
    """Decimal text in CNY: `held_cny` is the most that can be charged up to now; None where nothing tells."""

    job_id: str
    charged_cny: str
    held_cny: str
    per_hour_cny: str | None
    to_end_cny: str | None
    basis: str | None
    budget_cny: str | None


class Budget(TypedDict):
    """What a project may spend in a period (`project` None: the firm with all of its projects); decimal text in CNY."""

    firm: str
    project: str | None
    amount_cny: str
    period: str
    begins: str | None
    ends: str | None
    spent_cny: str
    held_cny: str
    left_cny: str


class Notification(TypedDict):
    """One message to a job's webhook: `delivered`, `waiting` or `given_up`."""

    id: str
    moment: str
    state: str
    attempts: int
    created_at: str
    delivered_at: str | None
    next_attempt_at: str | None
    problem: str | None


def _budget_path(firm: str, project: str | None) -> str:
    of = "" if project is None else f"/projects/{path_segment(project)}"
    return f"/v1/firms/{path_segment(firm)}{of}/budget"


class Surroundings:
    """A part of the client."""

    _transport: Transport

    def cost(self, job_id: str) -> JobCost:
        """What the job has cost so far, and what it may cost to its end."""
        return cast(JobCost, self._read(f"/v1/jobs/{path_segment(job_id)}/cost"))

    def budgets(self) -> list[Budget]:
        """Budgets of projects and firms, with what is spent and held of each."""
        found: list[Budget] = self._read("/v1/budgets")["budgets"]
        return found

    def set_budget(
        self, firm: str, amount_cny: str, *, project: str | None = None, period: str = "month"
    ) -> Budget:
        """Set what a project, or without one the whole firm, may spend in a `month`, a `year` or in `total`."""
        body = {"amount_cny": amount_cny, "period": period}
        made: Budget = self._transport.request("PUT", _budget_path(firm, project), body=body, repeatable=True)
        return made

    def remove_budget(self, firm: str, *, project: str | None = None) -> None:
        """Let it spend any amount."""
        self._transport.request("DELETE", _budget_path(firm, project))

    def notifications(self, job_id: str) -> list[Notification]:
        """What the job's webhook was told, and whether it has arrived."""
        found: list[Notification] = self._read(f"/v1/jobs/{path_segment(job_id)}/notifications")[
            "notifications"
        ]
        return found

    def secrets(self) -> list[Secret]:
        """The firm's secrets, without their values."""
        found: list[Secret] = self._read("/v1/secrets")["secrets"]
        return found

    def set_secret(self, name: str, value: bytes, *, project: str | None = None) -> Secret:
        """Make a secret or replace its value; `project` None: for the whole firm."""
        body = {"secret": base64.b64encode(value).decode(), "encoding": "base64"}
        made: Secret = self._transport.request(
            "PUT", f"/v1/secrets/{path_segment(name)}", query={"project": project}, body=body, repeatable=True
        )
        return made

    def delete_secret(self, name: str, *, project: str | None = None) -> None:
        """Forget a secret."""
        self._transport.request("DELETE", f"/v1/secrets/{path_segment(name)}", query={"project": project})

    def webhook_key(self) -> str:
        """The public key of the signatures under webhooks: `whpk_` and base64."""
        return str(self._read("/v1/webhook-key")["public_key"])

    def _read(self, path: str) -> Any:
        return self._transport.request("GET", path)
