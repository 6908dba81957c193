"""The OpenAPI document shows of every route what it does and what it answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from scheduler.api.openapi import EXAMPLES, FILE

DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation that answers with JSON, with that answer's content."""
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {}).get("application/json")
                if status.startswith("2") and content is not None:
                    yield f"{method.upper()} {path}", content


def test_every_operation_says_what_it_does_and_how_it_refuses() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert len(operation.get("description", "")) > 10, (method, path)
            refusal = operation["responses"]["4XX"]["content"]["application/problem+json"]
            assert refusal["schema"] == {"$ref": "#/components/schemas/ProblemOut"}, (method, path)
            for parameter in operation.get("parameters", ()):
                assert "schema" in parameter, (method, path, parameter)


def test_every_model_that_is_named_is_there() -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", FILE.read_text(encoding="utf-8")))
    assert named <= set(DOCUMENT["components"]["schemas"])


def test_no_example_is_of_a_route_that_is_not_there() -> None:
    assert set(json.loads(EXAMPLES.read_text(encoding="utf-8"))) == {name for name, _ in answers()}


@pytest.mark.parametrize(
    ("name", "content"), list(answers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_answer_has_an_example_that_fits_its_schema(name: str, content: dict[str, Any]) -> None:
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
