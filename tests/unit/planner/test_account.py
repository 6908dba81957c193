"""Why a job runs where it runs, in sentences."""

from collections.abc import Sequence

import pytest

from scheduler.domain.reasons import Reason, WhyNot
from scheduler.services.account import account_of


def told(*refusals: WhyNot) -> Sequence[str]:
    """Of a job that is placed on device-b in pool-b, which other places were before that."""
    choice = {"variants": ["device-b"], "preferred_but_not_possible": [why.to_json() for why in refusals]}
    return account_of({"pool": "pool-b", "device_model": "device-b", "model_choice": choice})


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (
            WhyNot(Reason.DEVICES_BUSY, "none is free", "pool-b", "device-a"),
            ["device-a was preferred and could not be had: none is free."],
        ),
        (
            WhyNot(Reason.DEVICES_BUSY, "none is free", "pool-a", "device-b"),
            ["Pool pool-a comes before and could not have it: none is free."],
        ),
        (WhyNot(Reason.NO_SUCH_DEVICES, "there are none", "pool-a", "device-b"), []),
        (
            WhyNot(Reason.QUOTA_TOO_SMALL, "asks for 16", None, "device-b"),
            ["It did not start with more devices: asks for 16."],
        ),
    ],
)
def test_what_a_job_did_not_get_is_said_of_the_place_where_it_was_not(
    refusal: WhyNot, expected: list[str]
) -> None:
    assert told(refusal) == expected
