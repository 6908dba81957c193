"""What is configured: applying a file, and reading what a caller can choose from."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from scheduler.api.auth import CatalogueReader, Configurer
from scheduler.api.bodies import read_json, request_body
from scheduler.api.schemas.applied import AppliedOut, applied_out
from scheduler.api.schemas.configuration import (
    CalendarOut,
    ConfigurationIn,
    FirmsOut,
    ModelsOut,
    PricesOut,
    QueuesOut,
    QuotasOut,
    calendar_out,
    firm_out,
    model_out,
    price_out,
    queue_out,
    quota_out,
)
from scheduler.api.state import ApiState
from scheduler.domain.configuration_reading import configuration_from_json
from scheduler.services.calendar import cut_short, list_calendar
from scheduler.services.configuration import apply_configuration
from scheduler.services.firms import list_firms, list_prices, list_queues
from scheduler.services.quotas import list_quotas

router = APIRouter(prefix="/v1", tags=["configuration"])


@router.post("/apply", openapi_extra=request_body(ConfigurationIn))
async def apply(
    request: Request,
    api: ApiState,
    principal: Configurer,
    dry_run: Annotated[bool, Query(description="Say what would change, and change nothing.")] = False,
) -> AppliedOut:
    """Make the installation as the file says. What the file does not name is left alone."""
    wanted = configuration_from_json(await read_json(request))
    async with api.database.transaction() as session:
        applied = await apply_configuration(
            session,
            principal,
            wanted,
            dry_run=dry_run,
            catalogue=api.catalogue,
            now_ms=api.now_ms(),
            ids=api.config.ids,
            firm_uids=api.config.firm_uids,
        )
    api.known.forget()
    return applied_out(applied, dry_run=dry_run)


@router.get("/firms")
async def firms(api: ApiState, principal: CatalogueReader) -> FirmsOut:
    """Firms with their projects; a firm's people see their own."""
    async with api.database.read() as session:
        return FirmsOut(firms=[firm_out(firm) for firm in await list_firms(session, principal)])


@router.get("/queues")
async def queues(api: ApiState, principal: CatalogueReader) -> QueuesOut:
    """Queues; a firm's people see their own."""
    async with api.database.read() as session:
        return QueuesOut(queues=[queue_out(queue) for queue in await list_queues(session, principal)])


@router.get("/quotas")
async def quotas(api: ApiState, principal: CatalogueReader) -> QuotasOut:
    """Quotas with what is held and what may still be taken; a firm's people see their own queues."""
    async with api.database.read() as session:
        lines = await list_quotas(session, principal, api.catalogue)
    return QuotasOut(quotas=[quota_out(line) for line in lines])


@router.get("/calendar")
async def calendar(api: ApiState, principal: CatalogueReader) -> CalendarOut:
    """Maintenance windows and advance reservations; a firm's people see maintenance and their own."""
    async with api.database.read() as session:
        return calendar_out(await list_calendar(session, principal, api.now_ms()))


@router.delete("/calendar/{name}", status_code=204)
async def end_calendar_entry(name: str, api: ApiState, principal: Configurer) -> None:
    """End an entry now; one that has not begun never will."""
    async with api.database.transaction() as session:
        await cut_short(session, principal, name, api.now_ms(), api.config.ids)


@router.get("/models")
async def models(api: ApiState, principal: CatalogueReader) -> ModelsOut:
    """Device models that the catalogue knows."""
    return ModelsOut(models=[model_out(api.catalogue.models[key]) for key in sorted(api.catalogue.models)])


@router.get("/prices")
async def prices(api: ApiState, principal: CatalogueReader) -> PricesOut:
    """Every price version, past and future."""
    async with api.database.read() as session:
        return PricesOut(prices=[price_out(p) for p in await list_prices(session, principal, api.now_ms())])
