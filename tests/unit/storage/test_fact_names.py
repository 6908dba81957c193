"""The name of a fact by its record: the archive's word for it is not enough."""

import pytest

from scheduler.storage.fact_names import has_new_id, is_name_of
from suanli.evidence.records import AdministrativeAct, Firm, PriceVersion, Record

FIRM = Firm("firm-1", "One", 7)
PRICE = PriceVersion("p-1", "m", "device_hour", 1, "r", 0, None)


def act(kind: str, subject: str) -> AdministrativeAct:
    return AdministrativeAct(kind, "who", "operator", subject, 1)


@pytest.mark.parametrize(
    ("record", "fact"),
    [
        (FIRM, "firm/firm-1"),
        (FIRM, "firm/firm-1/7"),
        (PRICE, "price/p-1"),
        (act("configuration_applied", "2 objects of 3"), "configuration/0190"),
        (act("principal_created", "operator p-1"), "principal/p-1/created"),
        (act("api_key_created", "k-1 of p-1"), "api_key/k-1/created"),
        (act("join_token_created", "t-1 for 3 nodes"), "join_token/t-1/created"),
        (act("secret_set", "s-1"), "secret/s-1/0190"),
        (act("period_closed", "1/2"), "period_closed/1/2"),
    ],
)
def test_a_fact_has_the_name_that_it_was_left_under(record: Record, fact: str) -> None:
    assert is_name_of(fact, record, b"")


@pytest.mark.parametrize(
    ("record", "fact"),
    [
        (FIRM, "firm/firm-2"),
        (FIRM, "firm/firm-1/8"),
        (PRICE, "firm/firm-1"),
        (act("configuration_applied", "2 objects of 3"), "configuration/a/b"),
        (act("configuration_applied", "2 objects of 3"), "firm/firm-2"),
        (act("principal_created", "operator p-1"), "principal/p-2/created"),
        (act("principal_disabled", ".*"), "principal/p-2/disabled"),
    ],
)
def test_a_fact_has_no_name_of_another(record: Record, fact: str) -> None:
    assert not is_name_of(fact, record, b"")


def test_only_a_name_with_an_id_of_its_own_follows_from_no_record() -> None:
    assert has_new_id(act("node_cordoned", "n-1"))
    assert not has_new_id(act("period_closed", "1/2"))
    assert not has_new_id(FIRM)
