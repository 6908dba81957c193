"""The list of finding codes and the steps that report them do not drift apart."""

import ast
from pathlib import Path

from suanli.evidence import steps
from suanli.evidence.findings import CODES, STEPS


def _texts():
    for file in Path(steps.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_code_is_reported_somewhere_and_no_other_is():
    texts = set(_texts())
    families = {code.split(".")[0] for code in CODES}
    used = {t for t in texts if t.count(".") == 1 and " " not in t and t.split(".")[0] in families}
    assert set(CODES) - texts == set()
    fields = {"operator_keys.log_public_key", "operator_keys.log_origin"}
    assert used - set(CODES) - fields == set()


def test_every_step_can_report_something():
    assert {step for step, _ in CODES.values()} == set(STEPS)
