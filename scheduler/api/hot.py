"""The few routes that are asked thousands of times a second, reached without FastAPI's machinery.

A hot endpoint is an ordinary endpoint of FastAPI, documented and refused like all others; its parameters are so
plain that reading them takes no solver. `HotRoutes` stands before the application with all its middleware and calls
it at once: matching, solving and the stacks of FastAPI and Starlette cost two to three times what the endpoints do.
A query that cannot be read is left to FastAPI, which says why.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, TypeVar, get_args, get_origin

from fastapi import APIRouter, Request, Response, params
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from scheduler.api.compression import compressed
from scheduler.api.headers import header
from scheduler.api.problems import answer_to, request_id_of

Endpoint = Callable[..., Awaitable[Response]]
EndpointT = TypeVar("EndpointT", bound=Endpoint)
_Read = Callable[[Request], Any]


class HotRequest(Request):
    """Starlette's, whose body costs no two generators a piece."""

    async def body(self) -> bytes:
        """The whole body. Raises ClientDisconnect."""
        if not hasattr(self, "_body"):
            pieces = []
            more = True
            while more:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                pieces.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(pieces)
        return self._body


class _Queried:
    """A parameter of the query, read as FastAPI reads it."""

    def __init__(self, parameter: inspect.Parameter) -> None:
        self._annotation = parameter.annotation
        self._default = parameter.default
        kinds = get_args(self._annotation)[:1] if get_origin(self._annotation) is Annotated else ()
        kind = kinds[0] if kinds else self._annotation
        self._many = any(get_origin(one) is list for one in (kind, *get_args(kind)))

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._annotation)  # at the first use: a start has dozens of them

    def read(self, request: Request, name: str) -> Any:
        """Raises ValidationError."""
        query = request.query_params
        if name not in query:
            return self._default
        return self._adapter.validate_python(query.getlist(name) if self._many else query[name])


class HotRoute:
    """One method of one path, with at most one parameter in it, which is its last part."""

    def __init__(self, method: str, path: str, endpoint: Endpoint) -> None:
        self.method = method
        self.path = path  # as in the OpenAPI document: the metrics name it so
        self.endpoint = endpoint
        self.prefix, _, name = path.partition("{")
        self.parameter = name.rstrip("}")
        signature = inspect.signature(endpoint, eval_str=True)
        self._dependencies: list[tuple[str, Callable[[Request], Awaitable[Any]]]] = []
        self._plain: list[tuple[str, _Read]] = []
        self._queried: list[tuple[str, _Queried]] = []
        for parameter in signature.parameters.values():
            self._add(parameter)

    def _add(self, parameter: inspect.Parameter) -> None:
        """Raises TypeError for a parameter that only FastAPI can read."""
        name, annotation = parameter.name, parameter.annotation
        marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        match marks:
            case () if annotation is Request:
                self._plain.append((name, lambda request: request))
            case () if annotation is str and name == self.parameter:
                self._plain.append((name, lambda request: request.path_params[name]))
            case (params.Depends(dependency=dependency),) if dependency is not None:
                self._dependencies.append((name, dependency))
            case (params.Header(alias=str(alias)),):
                key = alias.lower().encode()
                self._plain.append((name, lambda request: header(request.scope, key, parameter.default)))
            case (params.Query(alias=None),):
                self._queried.append((name, _Queried(parameter)))
            case () if parameter.default is not inspect.Parameter.empty:
                self._queried.append((name, _Queried(parameter)))
            case _:
                raise TypeError(f"{self.path}: {name} is too rich for a hot route")

    async def __call__(self, request: Request) -> Response | None:
        """The endpoint's answer; None when the query cannot be read. Raises what the dependencies and it raise."""
        given = {name: read(request) for name, read in self._plain}
        try:
            for name, queried in self._queried:
                given[name] = queried.read(request, name)
        except ValidationError:
            return None
        for name, dependency in self._dependencies:
            given[name] = await dependency(request)
        return await self.endpoint(**given)


# (method, path up to its parameter) -> route; filled as the routers are imported.
_ROUTES: dict[tuple[str, str], HotRoute] = {}
# (method, path) of those whose own statement asks whether the API key is still good: it is not asked before.
CHECK_KEYS_THEMSELVES: set[tuple[str, str]] = set()


def hot(
    router: APIRouter, method: str, path: str, *, checks_key: bool = False, **documented: Any
) -> Callable[[EndpointT], EndpointT]:
    """Register an endpoint as `router.get` and the like would, and as a hot one.

    `checks_key`: the principal is as remembered, and the endpoint sees to it that `session_check.unchecked` is good
    before anything comes of it. A failure needs nothing: who comes with a bad key is told that, and nothing else.
    """

    def register(endpoint: EndpointT) -> EndpointT:
        router.add_api_route(path, endpoint, methods=[method], **documented)
        route = HotRoute(method, router.prefix + path, endpoint)
        _ROUTES[method, route.prefix] = route
        if checks_key:
            CHECK_KEYS_THEMSELVES.add((method, route.path))
        return endpoint

    return register


def route_of(method: str, path: str) -> tuple[HotRoute, Mapping[str, str]] | None:
    """The hot route of a request, with the parameter of its path."""
    route = _ROUTES.get((method, path))
    if route is not None and not route.parameter:
        return route, {}
    prefix, _, last = path.rpartition("/")
    route = _ROUTES.get((method, prefix + "/"))
    if route is None or not route.parameter or not last:
        return None
    return route, {route.parameter: last}


async def _answered(route: HotRoute, request: Request) -> Response | None:
    try:
        return await route(request)
    except Exception:  # a body that breaks off too: who comes with a bad key is known by it for no longer
        await request.state.session_check.confirm()
        raise


class HotRoutes:
    """Answers hot requests, leaves the others to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        found = route_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = found
        request = HotRequest(scope, receive, send)
        try:
            response: Response | None = await _answered(found[0], request)
        except Exception as error:
            refusal = answer_to(error, request_id_of(request))
            if refusal is None:
                raise
            response = refusal
        if response is None:
            await self._app(scope, receive, send)
        else:
            await compressed(response, scope)(scope, receive, send)
