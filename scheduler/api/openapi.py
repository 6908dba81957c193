"""The OpenAPI document, generated from the routes and kept beside this file.

`python -m scheduler.api.openapi` writes it anew; a test says when that was forgotten.
"""

import json
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic.json_schema import models_json_schema

from scheduler.api.auth import WhoeverCalls
from scheduler.api.bodies import BODIES
from scheduler.api.schemas.problems import ProblemOut

FILE = Path(__file__).with_name("openapi.json")
# "GET /v1/jobs" -> an answer as it comes, for every route that answers with JSON (a test holds that).
EXAMPLES = Path(__file__).with_name("examples.json")
_OPEN = ("/healthz", "/readyz", "/version", "/v1/issuers", "/log/")
_DESCRIPTION = (
    "Send `Authorization: Bearer sk_...` with every request. Refusals are application/problem+json "
    "(RFC 9457) with a stable `code`; `errors` names each wrong field, what came and what is wanted. "
    "Every answer has an `X-Request-Id`. Times are RFC 3339 in UTC. Answers may gain fields."
)


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    result = get_openapi(
        title="Suanli",
        version="1",
        description=_DESCRIPTION,
        routes=app.routes,
        summary="Pools of accelerators",
    )
    schemas: dict[str, Any] = result.setdefault("components", {}).setdefault("schemas", {})
    _, definitions = models_json_schema(
        [*((model, "validation") for model in BODIES.values()), (ProblemOut, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    result["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    refusal = {
        "description": "Refused",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            _illustrate(operation, examples.get(f"{method.upper()} {path}"))
            operation["responses"].pop("422", None)
            operation["responses"]["4XX"] = refusal
            operation["responses"]["503"] = {
                **refusal,
                "description": "Not available now; Retry-After says when",
            }
            operation["security"] = [] if path.startswith(_OPEN) else [{"key": []}]
    return result


def _illustrate(operation: dict[str, Any], example: Any) -> None:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if status.startswith("2") and content is not None and example is not None:
            content["example"] = example


async def document(request: Request, principal: WhoeverCalls) -> Response:
    """The document, for whoever has a key."""
    state = request.app.state
    if not hasattr(state, "openapi_document"):  # making it takes seconds on a busy machine: once
        state.openapi_document = json.dumps(openapi(cast(FastAPI, request.app))).encode()
    return Response(state.openapi_document, media_type="application/json")


def text(app: FastAPI) -> str:
    """As committed: sorted, so that a change shows as its own lines."""
    return json.dumps(openapi(app), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _main() -> None:
    from scheduler.api.app import create_app
    from scheduler.api.config import ApiConfig

    # Never connected to: the document needs the routes alone.
    config = ApiConfig("postgresql://nowhere", "127.0.0.1", 0, Path("log"), Path("logs"))
    FILE.write_text(text(create_app(config)), encoding="utf-8")


if __name__ == "__main__":
    _main()
