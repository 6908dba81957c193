"""What projects and firms may spend: set, removed, and shown with what is gone of it."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.api.auth import BudgetSetter, FirmBudgetSetter, UsageReader
from scheduler.api.bodies import read_json, request_body
from scheduler.api.etags import IfMatch, IfNoneMatch, etag, judge_of, tag_of
from scheduler.api.schemas.budgets import BudgetBody, BudgetOut, BudgetsOut, budget_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.services.application import Application, Judge
from scheduler.services.budgets import BudgetLine, list_budgets, read_budget, remove_budget, set_budget

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


@router.get("/firms/{firm}/projects/{project}/budget", response_model=BudgetOut)
async def project_budget(firm: str, project: str, api: ApiState, principal: UsageReader) -> JSONResponse:
    """What a project may spend, with what is gone of it. The ETag is of what is set, not of what is gone."""
    return await _read(api, principal, (firm, project))


@router.put("/firms/{firm}/projects/{project}/budget", **_PUT)
async def put_project_budget(
    firm: str,
    project: str,
    request: Request,
    api: ApiState,
    principal: BudgetSetter,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> JSONResponse:
    """Set what a project may spend. A job that could cost more than is left waits; what runs goes on."""
    return await _put(request, api, principal, (firm, project), judge_of(if_match, if_none_match))


@router.delete("/firms/{firm}/projects/{project}/budget", status_code=204)
async def delete_project_budget(
    firm: str, project: str, api: ApiState, principal: BudgetSetter, if_match: IfMatch = None
) -> Response:
    """Let the project spend any amount."""
    return await _delete(api, principal, (firm, project), judge_of(if_match))


@router.get("/firms/{firm}/budget", response_model=BudgetOut)
async def firm_budget(firm: str, api: ApiState, principal: UsageReader) -> JSONResponse:
    """What a firm may spend with all of its projects. The ETag is of what is set, not of what is gone."""
    return await _read(api, principal, (firm, None))


@router.put("/firms/{firm}/budget", **_PUT)
async def put_firm_budget(
    firm: str,
    request: Request,
    api: ApiState,
    principal: FirmBudgetSetter,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> JSONResponse:
    """Set what a firm may spend with all of its projects; it binds beside their own budgets."""
    return await _put(request, api, principal, (firm, None), judge_of(if_match, if_none_match))


@router.delete("/firms/{firm}/budget", status_code=204)
async def delete_firm_budget(
    firm: str, api: ApiState, principal: FirmBudgetSetter, if_match: IfMatch = None
) -> Response:
    """Let the firm spend any amount."""
    return await _delete(api, principal, (firm, None), judge_of(if_match))


_Whose = tuple[str, str | None]  # firm, project


async def _read(api: Api, principal: Principal, whose: _Whose) -> JSONResponse:
    async with api.database.snapshot() as session:
        return _answer(await read_budget(session, principal, *whose, api.now_ms()))


async def _put(request: Request, api: Api, principal: Principal, whose: _Whose, judge: Judge) -> JSONResponse:
    value = await read_json(request)
    async with api.database.transaction() as session:
        line, is_new = await set_budget(_run(api, session), principal, *whose, value, judge)
    return _answer(line, 201 if is_new else 200)


async def _delete(api: Api, principal: Principal, whose: _Whose, judge: Judge) -> Response:
    async with api.database.transaction() as session:
        await remove_budget(_run(api, session), principal, *whose, judge)
    return Response(status_code=204)


def _answer(line: BudgetLine, status: int = 200) -> JSONResponse:
    return JSONResponse(budget_out(line).model_dump(), status, {"ETag": etag(tag_of(line.document()))})


def _run(api: Api, session: AsyncSession) -> Application:
    return Application(session, api.catalogue, api.now_ms(), api.config.ids, api.config.firm_uids)
