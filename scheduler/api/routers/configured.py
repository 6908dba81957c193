"""Firms, queues, cohorts and pools one by one, and new versions of prices and programs, beside POST /v1/apply."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from scheduler.api.auth import CatalogueReader, Configurer
from scheduler.api.bodies import read_json, request_body
from scheduler.api.etags import IfMatch, IfNoneMatch, etag, judge_of, tag_of
from scheduler.api.schemas.applied import AppliedOut, applied_out
from scheduler.api.schemas.configuration import (
    CohortBody,
    CohortDocument,
    CohortWritten,
    FirmBody,
    FirmDocument,
    PoolBody,
    PriceIn,
    PriceOut,
    ProgramIn,
    ProgramsOut,
    QueueBody,
    QueueDocument,
    QueueWritten,
    price_out,
    program_out,
)
from scheduler.api.schemas.nodes import PoolDocument
from scheduler.api.schemas.problems import field_errors_out
from scheduler.api.state import Api, ApiState
from scheduler.domain.authorise import Principal
from scheduler.domain.configuration_reading import configuration_from_json
from scheduler.domain.errors import FieldProblem, Invalid, NotFound
from scheduler.services.application import Document
from scheduler.services.configuration import apply_configuration
from scheduler.services.configured_objects import (
    Means,
    Target,
    patch_object,
    put_object,
    read_object,
    remove_object,
)
from scheduler.services.firms import list_prices, list_programs

router = APIRouter(prefix="/v1", tags=["configuration"])

_REMOVABLE = ("queue", "cohort", "pool")
_WARNED = ("queue", "cohort")  # of quota that is more than there is


async def _firm(firm: str) -> Target:
    return Target("firm", firm)


async def _queue(firm: str, queue: str) -> Target:
    return Target("queue", queue, firm)


async def _cohort(cohort: str) -> Target:
    return Target("cohort", cohort)


async def _pool(pool: str) -> Target:
    return Target("pool", pool)


def _endpoints(kind: str, target_of: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """Reading, putting, patching and removing one kind of object."""
    where = Annotated[Target, Depends(target_of)]
    reader = Configurer if kind == "cohort" else CatalogueReader
    warned = kind in _WARNED

    async def read(api: ApiState, principal: reader, target: where) -> JSONResponse:  # type: ignore[valid-type]
        async with api.database.read() as session:
            return _answer(await read_object(session, principal, target))

    async def put(
        request: Request,
        api: ApiState,
        principal: Configurer,
        target: where,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> JSONResponse:
        value = await read_json(request)
        async with api.database.transaction() as session:
            judge = judge_of(if_match, if_none_match)
            made = await put_object(session, principal, target, value, judge, _means(api))
        api.known.forget()
        return _answer(made.document, 201 if made.is_new else 200, made.warnings if warned else None)

    async def patch(
        request: Request,
        api: ApiState,
        principal: Configurer,
        target: where,
        if_match: IfMatch = None,
    ) -> JSONResponse:
        changes = await read_json(request)
        async with api.database.transaction() as session:
            made = await patch_object(session, principal, target, changes, judge_of(if_match), _means(api))
        api.known.forget()
        return _answer(made.document, warnings=made.warnings if warned else None)

    async def remove(
        api: ApiState,
        principal: Configurer,
        target: where,
        if_match: IfMatch = None,
    ) -> Response:
        async with api.database.transaction() as session:
            await remove_object(session, principal, target, judge_of(if_match), _means(api))
        api.known.forget()
        return Response(status_code=204)

    return read, put, patch, remove


def _serve(
    kind: str,
    path: str,
    target_of: Callable[..., Any],
    body: type[BaseModel],
    document: type[BaseModel],
    more: str = "",
    written: type[BaseModel] | None = None,
) -> None:
    """Register GET, PUT, PATCH and, where nothing is lost by it, DELETE of one kind of object."""
    read, put, patch, remove = _endpoints(kind, target_of)
    written = written or document
    router.add_api_route(
        path,
        read,
        methods=["GET"],
        name=f"read_{kind}",
        description=f"The {kind}, with its ETag.",
        response_model=document,
    )
    router.add_api_route(
        path,
        put,
        methods=["PUT"],
        name=f"put_{kind}",
        description=f"Make the {kind} just so; what is left out has its default. 201 where it is new. {more}".strip(),
        openapi_extra=request_body(body),
        responses={201: {"model": written, "description": "It is new"}},
        response_model=written,
    )
    router.add_api_route(
        path,
        patch,
        methods=["PATCH"],
        name=f"patch_{kind}",
        description=f"Change some fields of the {kind} (a merge patch, RFC 7396); null: back to the default.",
        openapi_extra=request_body(body),
        response_model=written,
    )
    if kind in _REMOVABLE:
        router.add_api_route(
            path,
            remove,
            methods=["DELETE"],
            name=f"remove_{kind}",
            status_code=204,
            description=f"Remove the {kind}, where nothing refers to it.",
        )


def _means(api: Api) -> Means:
    return Means(api.catalogue, api.config.ids, api.config.firm_uids, api.now_ms())


def _answer(
    document: Document, status: int = 200, warnings: Iterable[FieldProblem] | None = None
) -> JSONResponse:
    """The ETag is of what is there; warnings are of what was just written."""
    said = {} if warnings is None else {"warnings": [w.model_dump() for w in field_errors_out(warnings)]}
    return JSONResponse({**document, **said}, status, {"ETag": etag(tag_of(document))})


_serve(
    "firm",
    "/firms/{firm}",
    _firm,
    FirmBody,
    FirmDocument,
    "Projects are added and never taken away; a new firm gets a queue `default` over all pools.",
)
_serve("queue", "/firms/{firm}/queues/{queue}", _queue, QueueBody, QueueDocument, written=QueueWritten)
_serve("cohort", "/cohorts/{cohort}", _cohort, CohortBody, CohortDocument, written=CohortWritten)
_serve("pool", "/pools/{pool}", _pool, PoolBody, PoolDocument)


@router.post("/prices", status_code=201, openapi_extra=request_body(PriceIn))
async def publish_price(request: Request, api: ApiState, principal: Configurer) -> AppliedOut:
    """Publish a price of a device model from a moment on. It never changes: a later one supersedes it."""
    return await _publish(request, api, principal, "prices")


@router.get("/prices/{price_id}")
async def price(price_id: str, api: ApiState, principal: CatalogueReader) -> PriceOut:
    """One price version."""
    async with api.database.read() as session:
        found = [p for p in await list_prices(session, principal, api.now_ms()) if p.price_id == price_id]
    if not found:
        raise NotFound(f"there is no price {price_id}")
    return price_out(found[0])


@router.post("/programs", status_code=201, openapi_extra=request_body(ProgramIn))
async def publish_program(request: Request, api: ApiState, principal: Configurer) -> AppliedOut:
    """Publish a version of a subsidy program. What was published never changes: a later version supersedes it."""
    return await _publish(request, api, principal, "programs")


@router.get("/programs")
async def programs(api: ApiState, principal: CatalogueReader) -> ProgramsOut:
    """Every version of every subsidy program: its rules are public to whom they pay for."""
    async with api.database.read() as session:
        found = await list_programs(session, principal, api.now_ms())
    return ProgramsOut(programs=[program_out(one) for one in found])


async def _publish(request: Request, api: Api, principal: Principal, kind: str) -> AppliedOut:
    value = await read_json(request)
    try:
        wanted = configuration_from_json({kind: [value]})
        async with api.database.transaction() as session:
            applied = await apply_configuration(
                session,
                principal,
                wanted,
                dry_run=False,
                catalogue=api.catalogue,
                now_ms=api.now_ms(),
                ids=api.config.ids,
                firm_uids=api.config.firm_uids,
            )
    except Invalid as error:
        place = f"{kind}[0]"
        raise Invalid(
            [replace(p, field=p.field.removeprefix(place).lstrip(".") or "(root)") for p in error.problems]
        ) from None
    api.known.forget()
    return applied_out(applied, dry_run=False)
