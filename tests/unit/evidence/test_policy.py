"""The C2SP policy file: its grammar, and when a quorum is met."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_COSIGNATURE_ED25519, NOTE_ED25519, SigningKey, verifier_key
from suanli.evidence.policy import format_policy, parse_policy
from tests.builders.evidence import seed

LOG = str(verifier_key("log.example", NOTE_ED25519, SigningKey(seed("log")).public_key))


def _witness(name):
    return str(verifier_key(f"{name}.example", NOTE_COSIGNATURE_ED25519, SigningKey(seed(name)).public_key))


LEVELS = f"""# the example of the specification

log {LOG} https://log.example/
witness X1 {_witness("x1")}
witness X2 {_witness("x2")}
\twitness\tX3 {_witness("x3")}
group X-witnesses 2 X1 X2 X3
witness Y1 {_witness("y1")}
witness Y2 {_witness("y2")} https://y2.example/
group Y-witnesses any Y1 Y2
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_example_of_the_specification_is_read():
    policy = parse_policy(LEVELS.encode())
    assert [log.url for log in policy.logs] == ["https://log.example/"]
    assert [witness.name for witness in policy.witnesses] == ["X1", "X2", "X3", "Y1", "Y2"]
    assert policy.groups[0].threshold == 2
    assert policy.log_key("log.example") is not None
    assert policy.log_key("other.example") is None


@pytest.mark.parametrize(
    ("cosigned", "met"),
    [
        ({"X1", "X2", "Y1"}, True),
        ({"X1", "X2", "X3", "Y1", "Y2"}, True),
        ({"X1", "Y1", "Y2"}, False),
        ({"X1", "X2", "X3"}, False),
        (set(), False),
        ({"X-and-Y-but-not"}, False),
    ],
)
def test_the_quorum_counts_groups_of_groups(cosigned, met):
    assert parse_policy(LEVELS.encode()).quorum_met(cosigned) is met


def test_quorum_none_needs_nobody():
    assert parse_policy(b"quorum none\n").quorum_met([])


def test_a_policy_written_and_read_is_the_same():
    policy = parse_policy(LEVELS.encode())
    assert parse_policy(format_policy(policy).encode()) == policy


def test_names_are_opaque_octets():
    text = f"witness K\xe9 {_witness('x1')}\nquorum K\xe9\n".encode("latin-1")
    policy = parse_policy(text)
    assert policy.quorum_met([policy.witnesses[0].name])


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"log {LOG}\n",
        "quorum none",
        "quorum none\nquorum none\n",
        "quorum X1\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        f"log {_witness('x1')}\nquorum none\n",
        f"witness X1 {LOG}\nquorum none\n",
        f"witness none {_witness('x1')}\nquorum none\n",
        f"witness X1 {_witness('x1')}\nwitness X1 {_witness('x2')}\nquorum none\n",
        f"witness X1 {_witness('x1')}\nwitness X2 {_witness('x1')}\nquorum none\n",
        f"witness X1 {_witness('x1')}\ngroup G 2 X1\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G 0 X1\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G 01 X1\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G any X1 X1\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G any X1\ngroup H any X1\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G any none\nquorum G\n",
        f"group G any X1\nwitness X1 {_witness('x1')}\nquorum G\n",
        f"witness X1 {_witness('x1')}\ngroup G any\nquorum G\n",
        "quorum none\r\n",
        "quorum\u00a0none\n",
        "mirror X\nquorum none\n",
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused(text):
    with pytest.raises(EvidenceError):
        parse_policy(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_a_policy_or_a_refusal(data):
    try:
        policy = parse_policy(data)
    except EvidenceError:
        return
    assert policy.quorum
