"""What projects and firms may spend: set, removed, and shown with what is gone of it."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.api.auth import BudgetSetter, Configurer, UsageReader
from scheduler.api.bodies import read_json, request_body
from scheduler.api.schemas.budgets import BudgetBody, BudgetOut, BudgetsOut, budget_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.services.application import Application
from scheduler.services.budgets import list_budgets, remove_budget, set_budget

router = APIRouter(prefix="/v1", tags=["configuration"])

_PUT: dict[str, Any] = {
    "response_model": BudgetOut,
    "openapi_extra": request_body(BudgetBody),
    "responses": {201: {"model": BudgetOut, "description": "It is new"}},
}


@router.get("/budgets")
async def budgets(api: ApiState, principal: UsageReader) -> BudgetsOut:
    """Every budget with what is spent and held of it; a firm's people see those of their own firm."""
    async with api.database.snapshot() as session:
        found = await list_budgets(session, principal, api.now_ms())
    return BudgetsOut(budgets=[budget_out(line) for line in found])


@router.put("/firms/{firm}/projects/{project}/budget", **_PUT)
async def put_project_budget(
    firm: str, project: str, request: Request, api: ApiState, principal: BudgetSetter
) -> JSONResponse:
    """Set what a project may spend. A job that could cost more than is left waits; what runs goes on."""
    return await _put(request, api, principal, firm, project)


@router.delete("/firms/{firm}/projects/{project}/budget", status_code=204)
async def delete_project_budget(firm: str, project: str, api: ApiState, principal: BudgetSetter) -> Response:
    """Let the project spend any amount."""
    return await _delete(api, principal, firm, project)


@router.put("/firms/{firm}/budget", **_PUT)
async def put_firm_budget(firm: str, request: Request, api: ApiState, principal: Configurer) -> JSONResponse:
    """Set what a firm may spend with all of its projects; it binds beside their own budgets."""
    return await _put(request, api, principal, firm, None)


@router.delete("/firms/{firm}/budget", status_code=204)
async def delete_firm_budget(firm: str, api: ApiState, principal: Configurer) -> Response:
    """Let the firm spend any amount."""
    return await _delete(api, principal, firm, None)


async def _put(
    request: Request, api: Api, principal: Principal, firm: str, project: str | None
) -> JSONResponse:
    value = await read_json(request)
    async with api.database.transaction() as session:
        line, is_new = await set_budget(_run(api, session), principal, firm, project, value)
    return JSONResponse(budget_out(line).model_dump(), 201 if is_new else 200)


async def _delete(api: Api, principal: Principal, firm: str, project: str | None) -> Response:
    async with api.database.transaction() as session:
        await remove_budget(_run(api, session), principal, firm, project)
    return Response(status_code=204)


def _run(api: Api, session: AsyncSession) -> Application:
    return Application(session, api.catalogue, api.now_ms(), api.config.ids, api.config.firm_uids)
