"""The closed lists of reasons: why a job waits, why a task was told to stop, why an attempt or a job ended.

A reason is data for programs; the sentence beside it is for people. Adding a member is a change of the
interface; renaming one is a break.
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a job waits, or could never start."""

    DEVICES_BUSY = "devices_busy"  # fewer free devices than asked
    DEVICES_FRAGMENTED = "devices_fragmented"  # enough free devices, not in a shape for the gang
    DEVICES_APART = "devices_apart"  # enough nodes with room, not inside one domain as the job requires
    ONE_FIRM_NODES = "one_firm_nodes"  # free, but their nodes serve another firm alone
    DEVICES_UNAVAILABLE = "devices_unavailable"  # nodes silent, lost or cordoned, or devices faulty
    DEVICES_RESERVED = "devices_reserved"  # free, but held for a job that is before this one
    QUOTA_REACHED = "quota_reached"  # the queue's nominal quota of the model
    QUOTA_RESERVED = "quota_reserved"  # quota is held for a job that is before this one in the queue
    MAINTENANCE = "maintenance"  # devices are free, but their nodes are soon or now out of service or booked
    BUDGET_EXHAUSTED = "budget_exhausted"  # the project cannot pay for the time limit
    FASTER_LATER = "faster_later"  # free devices would take so much longer that others are worth a wait
    CLOSER_LATER = "closer_later"  # there is room, spread over more of the network than is worth a wait
    RETRY_LATER = "retry_later"  # between two attempts
    VARIANT_BENCHED = "variant_benched"  # an earlier attempt could not be prepared with this variant
    HELD = "held"  # by somebody, until it is released
    DEPENDENCY = "dependency"  # other jobs come first
    ARRAY_LIMIT = "array_limit"  # as many of its array go on as may at a time
    NOT_PLANNED_YET = "not_planned_yet"  # submitted after the last cycle
    PLAN_FAILED = (
        "plan_failed"  # no plan can be made with it: a defect; the others are planned for without it
    )
    NO_CONTAINER_ENGINE = "no_container_engine"  # free, but their nodes run no container images
    AGENT_TOO_OLD = "agent_too_old"  # free, but their nodes' agents are older than what the job asks for
    # These never change by waiting.
    UNKNOWN_MODEL = "unknown_model"  # not in the catalogue
    NO_SUCH_DEVICES = "no_such_devices"  # no pool of the queue has the model
    GANG_TOO_LARGE = "gang_too_large"  # no pool of the queue is large enough, even when empty
    SHAPE_NOT_ALLOWED = "shape_not_allowed"  # the vendor does not allow this number of devices on a node
    QUOTA_TOO_SMALL = "quota_too_small"  # more than the queue's whole nominal quota
    UNKNOWN_QUEUE = "unknown_queue"  # the firm has no such queue
    NO_NODE_FOR_IMAGES = "no_node_for_images"  # no node of the pools with the model runs container images
    ALL_AGENTS_TOO_OLD = "all_agents_too_old"  # those of all nodes of the pools with the model
    NO_POOL = "no_pool"  # the queue may use no pool


class StopReason(StrEnum):
    """Why a task was told to stop."""

    CANCELLED = "cancelled"
    GANG_FAILED = "gang_failed"  # another task of the gang failed or was lost
    TIME_LIMIT = "time_limit"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    REQUEUED = "requeued"  # sent back to its queue by somebody
    DEADLINE = "deadline"
    BUDGET_EXHAUSTED = "budget_exhausted"
    RELEASED = "released"  # devices that were kept for a gang, and are no longer


class EndReason(StrEnum):
    """What an agent says of an ended task (protos/suanli/fleet/v1/control.proto)."""

    EXITED = "exited"
    STOPPED = "stopped"
    PREPARE_FAILED = "prepare_failed"
    IMAGE_FAILED = "image_failed"
    STORE_REFUSED = "store_refused"  # not prepared, by an object store: no other node would fare better
    OUTPUT_FAILED = "output_failed"  # it ended well, and its object store did not take what it left
    LOST = "lost"
    OUT_OF_MEMORY = "out_of_memory"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    PREEMPTED = "preempted"
    REQUEUED = "requeued"


class Ending(StrEnum):
    """Why an attempt or a job ended as it did."""

    COMPLETED = "completed"
    EXITED_NONZERO = "exited_nonzero"
    OUT_OF_MEMORY = "out_of_memory"
    PREPARE_FAILED = "prepare_failed"
    IMAGE_FAILED = "image_failed"  # its container image could not be had
    STORE_REFUSED = "store_refused"  # an object store has no such input or bucket, or refuses the key
    OUTPUT_FAILED = "output_failed"  # an output could not be written to its object store
    TIME_LIMIT = "time_limit"
    CANCELLED = "cancelled"
    NODE_LOST = "node_lost"
    TASK_LOST = "task_lost"  # the agent is there, the task is not
    PREEMPTED = "preempted"
    REQUEUED = "requeued"
    DEADLINE = "deadline"
    BUDGET_EXHAUSTED = "budget_exhausted"  # the job has cost what it may
    DEPENDENCY_FAILED = "dependency_failed"  # a job whose success it was to follow did not succeed
    SPEC_UNREADABLE = "spec_unreadable"  # the controller cannot read what is stored of it: a defect


class WhyNot(NamedTuple):
    """One reason with its numbers: for a pool and a device model where they matter."""

    reason: Reason
    sentence: str
    pool: str | None = None
    device_model: str | None = None
    asked: int | None = None
    available: int | None = None

    def to_json(self) -> dict[str, object]:
        """As stored in `reports.reasons` and shown by the API."""
        return {
            "reason": self.reason.value,
            "domain": self.pool,
            "device_model": self.device_model,
            "asked": self.asked,
            "available": self.available,
            "sentence": self.sentence,
        }
