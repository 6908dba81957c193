"""Quota: what queues may hold at once, and what they lend and borrow in their cohorts.

Each limit is on a key: a device model (in devices) or COMPUTE (in GFLOPS over all models). A queue or cohort
keeps what it does not lend; the rest of its nominal quota is in its parent's hands, from where every member
may borrow what nobody uses. What was lent comes back by reclaim (preemption.py).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from scheduler.catalogue import Catalogue
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey, told_amount
from scheduler.domain.quotas import parent_of
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.planner.config import PlannerConfig
from scheduler.planner.snapshot import RunningJob, Shape, Snapshot

_NO_LIMIT = 1 << 62


class Limit(NamedTuple):
    """Of a queue or a cohort and a key."""

    who: QueueKey | str
    key: str
    # At once, of what those below do not keep for themselves; None: only who is above limits it.
    most: int | None
    kept: int  # how much of it is never lent: what is used within is not counted above


class Sharing:
    """What the queues hold while a plan is being made. Cost of a question: the depth of the tree."""

    def __init__(self, snapshot: Snapshot, config: PlannerConfig) -> None:
        self._config = config
        self._catalogue = snapshot.catalogue
        self._queues = snapshot.queues
        self._cohorts = snapshot.cohorts
        self._gflops: dict[str, int] = {}
        self._held: dict[QueueKey, dict[str, int]] = {}
        self._kept: dict[QueueKey, dict[str, int]] = {}  # the most asked for by those for whom it is kept
        self._children: dict[str, list[Queue | Cohort]] = {}
        for queue in snapshot.queues.values():
            if queue.cohort is not None:
                self._children.setdefault(queue.cohort, []).append(queue)
        for cohort in snapshot.cohorts.values():
            if cohort.parent is not None:
                self._children.setdefault(cohort.parent, []).append(cohort)
        self._usage: dict[tuple[str, str], int] = {}  # of a cohort: what its members use of its hands
        self._quota: dict[tuple[str, str], int] = {}
        self._limits: dict[tuple[str, str], bool] = {}
        self._parts: dict[tuple[QueueKey, str], int] = {}  # of devices, in ppm
        self.passed_on = False  # whether anything that running jobs hold counts for whom they are to stop for
        self._leaving: dict[tuple[QueueKey, str], int] = {}  # held by who is to stop, and given to nobody
        # Answers since anything was given or kept: many jobs ask the same.
        self.given = object()  # a new one whenever anything is
        self._refused: dict[tuple[QueueKey, str, int], WhyNot | None] = {}
        self._borrowed: dict[tuple[QueueKey, str, int], tuple[str, ...]] = {}
        for key, models in snapshot.held.items():
            for model, devices in models.items():
                self.take(key, model, devices)
        for key, models in snapshot.held_parts.items():
            for model, ppm in models.items():
                self._parts[key, model] = ppm
                self.take(key, model, _up(ppm))

    def amounts(self, model: str, devices: int) -> tuple[tuple[str, int], ...]:
        """What so many devices count for, by key."""
        gflops = self._gflops.get(model)
        if gflops is None:
            gflops = self._catalogue.fp16_gflops(model) or self._config.unknown_fp16_gflops
            self._gflops[model] = gflops
        return (model, devices), (COMPUTE, gflops * devices)

    def refusal(self, queue: Queue, model: str, devices: int) -> WhyNot | None:
        """Why the quota does not let the gang start on the model, or None."""
        if queue.cohort is None and not queue.nominal:
            return None
        question = (queue.key, model, devices)
        if question not in self._refused:
            self._refused[question] = self._refusal(queue, model, devices)
        return self._refused[question]

    def lacks(self, queue: Queue, model: str, devices: int) -> dict[str, int]:
        """By key how much more so many devices count for than the quota has left."""
        amounts = self.amounts(model, devices)
        short = {key: asked - self._available(queue, key) for key, asked in amounts}
        return {key: amount for key, amount in short.items() if amount > 0}

    def within(self, queue: Queue, models: Iterable[str], held: Iterable[RunningJob]) -> dict[str, int]:
        """The most devices of each model that the quota would let the queue have, had those given theirs back."""
        if queue.cohort is None and not queue.nominal:
            return {}
        by_model = Counter[str]()
        for running in held:
            by_model[running.model] += running.devices
        back = Counter[str]()
        for model, devices in by_model.items():
            back.update(dict(self.amounts(model, devices)))
        found = {}
        for model in models:
            amounts = self.amounts(model, 1)
            most = min((self._available(queue, key) + back[key]) // one for key, one in amounts if one)
            found[model] = max(most, by_model[model])
        return found

    def _refusal(self, queue: Queue, model: str, devices: int) -> WhyNot | None:
        for key, asked in self.amounts(model, devices):
            available = self._available(queue, key)
            if asked <= available:
                if available < _NO_LIMIT and key in self._kept.get(queue.key, _NOTHING):
                    sentence = (
                        f"{told_amount(key, available)} {_what(key)} are left of the queue's quota;"
                        " they are kept for a job that waits longer"
                    )
                    return WhyNot(Reason.QUOTA_RESERVED, sentence, None, model, asked, available)
                continue
            return self._too_much(queue, key, model, asked, available)
        return None

    def _too_much(self, queue: Queue, key: str, model: str, asked: int, available: int) -> WhyNot:
        nominal = queue.nominal.get(key, 0)
        what = _what(key)
        most = self._most(queue, key)
        available = max(0, available)
        asks = f"asks for {told_amount(key, asked)} {what}"
        if asked > most:
            whole = told_amount(key, most) + (f" {what}" if key == COMPUTE else "")
            sentence = f"{asks}; the queue's whole quota is {whole}"
            return WhyNot(Reason.QUOTA_TOO_SMALL, sentence, None, model, asked, most)
        held = told_amount(key, self.held(queue.key, key))
        sentence = f"{asks}; the queue holds {held} of its {told_amount(key, nominal)}"
        if not nominal:
            sentence = f"{asks}; the queue has none of its own and holds {held}"
        if queue.cohort is not None:
            sentence += f", and {told_amount(key, available)} are left in its cohort {queue.cohort}"
        return WhyNot(Reason.QUOTA_REACHED, sentence, None, model, asked, available)

    def devices_of(self, shape: Shape, model: str) -> int:
        """How many devices more the queue's quota counts for a shape. Parts count together, rounded up."""
        if shape.whole:
            return shape.devices
        part = self._parts.get((shape.queue, model), 0)
        return _up(part + shape.devices * shape.share_ppm) - _up(part)

    def take_for(self, shape: Shape, model: str, *, devices: int | None = None, back: bool = False) -> None:
        """Counts a placement of a shape, or of so many devices of it; or takes it back."""
        count = shape.devices if devices is None else devices
        if shape.whole:
            self.take(shape.queue, model, -count if back else count)
            return
        key = (shape.queue, model)
        before = self._parts.get(key, 0)
        after = self._parts[key] = before + count * shape.share_ppm * (-1 if back else 1)
        self.take(shape.queue, model, _up(after) - _up(before))

    def pass_on(self, running: RunningJob, wanted: Mapping[str, int]) -> dict[str, int]:
        """Counts that a job is to stop: of what it holds so much goes to whom it stops for as he wants, by key.

        What is left over is no longer borrowed by its queue, but comes free for others only when it has stopped.
        Returns what he still wants of others.
        """
        shape, devices, still = running.shape, running.devices, dict(wanted)
        queue = self._queues.get(shape.queue)
        if not shape.whole and still.get(running.model):
            self.take_for(shape, running.model, devices=devices, back=True)
        for key, amount in self.amounts(running.model, devices):
            passed = min(amount, still.get(key, 0))
            still[key] = still.get(key, 0) - passed
            self.passed_on |= passed > 0
            if shape.whole and queue is not None:
                self._count(queue, key, -passed)
                at = (shape.queue, key)
                self._leaving[at] = self._leaving.get(at, 0) + amount - passed
        return still

    def borrows(self, queue: Queue, model: str, devices: int) -> bool:
        """Whether the queue would hold more than its own nominal quota."""
        return bool(self.would_borrow(queue, model, devices))

    def would_borrow(self, queue: Queue, model: str, devices: int) -> tuple[str, ...]:
        """The keys of which the queue would hold more than its own nominal quota."""
        if queue.cohort is None:
            return ()
        question = (queue.key, model, devices)
        keys = self._borrowed.get(question)
        if keys is None:
            keys = self._borrowed[question] = tuple(
                key
                for key, asked in self.amounts(model, devices)
                if self._limited(queue, key) and self.held(queue.key, key) + asked > queue.nominal.get(key, 0)
            )
        return keys

    def must_borrow(self, shape: Shape) -> bool:
        """Whether the queue would borrow for it on any of its models."""
        queue = self._queues.get(shape.queue)
        if queue is None or queue.cohort is None or not shape.models:
            return False
        return all(self.borrows(queue, model, self.devices_of(shape, model)) for model in shape.models)

    def may_ever(self, shape: Shape, model: str) -> bool:
        """Whether the quota would let it start on the model, were nothing used."""
        queue = self._queues.get(shape.queue)
        return queue is not None and all(
            not self._limited(queue, key) or asked <= self._most(queue, key)
            for key, asked in self.amounts(model, shape.devices)
        )

    def over_nominal(self, queue: Queue, model: str, of: Collection[str] | None = None) -> int:
        """How many devices of a model the queue holds beyond its own nominal quota of any key, or of these."""
        if queue.cohort is None:
            return 0
        over = 0
        for key, of_one in self.amounts(model, 1):
            if (of is None or key in of) and self._limited(queue, key):
                leaving = self._leaving.get((queue.key, key), 0)
                excess = self.held(queue.key, key) - leaving - queue.nominal.get(key, 0)
                over = max(over, -(-excess // of_one) if of_one else 0)
        return min(over, self.held(queue.key, model))

    def has_borrowed(self, running: RunningJob, of: Collection[str] | None = None) -> bool:
        """Whether the queue of a running job holds more than is its own of its devices, or of these keys of them."""
        queue = self._queues.get(running.shape.queue)
        return queue is not None and self.over_nominal(queue, running.model, of) > 0

    def root(self, key: QueueKey) -> str | None:
        """The top of the tree in which a queue is; None: it is in none."""
        return self._root(self._queues.get(key))

    def held(self, queue: QueueKey, key: str) -> int:
        """What a queue holds or was given in this plan."""
        return self._held.get(queue, _NOTHING).get(key, 0)

    def take(self, queue_key: QueueKey, model: str, devices: int) -> None:
        """Counts a placement; a negative number takes it back."""
        queue = self._queues.get(queue_key)
        if queue is None or (queue.cohort is None and not queue.nominal):
            return  # nobody's answers depend on it
        for key, amount in self.amounts(model, devices):
            self._count(queue, key, amount)

    def _count(self, queue: Queue, key: str, amount: int) -> None:
        self.given = object()
        self._refused.clear()
        self._borrowed.clear()
        held = self._held.setdefault(queue.key, {})
        before = held.get(key, 0)
        held[key] = before + amount
        if queue.cohort is not None:
            self._pass_on(queue, key, before, before + amount)

    def told(self, key: str, jobs: Iterable[RunningJob]) -> str:
        """What jobs hold of a key, for people."""
        amount = sum(dict(self.amounts(one.model, one.devices)).get(key, 0) for one in jobs)
        return f"{told_amount(key, amount)} {_what(key)}"

    # What operators are shown.

    def keys(self, member: Queue | Cohort) -> list[str]:
        """Everything that is limited for a member, in order."""
        root = self._root(member)
        if root is None:
            root = member.name if isinstance(member, Cohort) else None
        named = [member] if root is None else self._below(root)
        return sorted({key for other in named for key in other.nominal})

    def most(self, queue: Queue) -> dict[str, int]:
        """The most that a queue could hold of everything that is limited, were nothing used."""
        return {key: self._most(queue, key) for key in self.keys(queue)}

    def limits(self, queue: Queue, keys: Iterable[str]) -> Iterator[Limit]:
        """What bounds the queue, and what each cohort above it bounds: from the queue up, key by key."""
        for key in keys:
            if not self._limited(queue, key):
                continue
            yield Limit(queue.key, key, self._most(queue, key), self._own(queue, key))
            cohort = self._cohorts.get(queue.cohort or "")
            while cohort is not None:
                parent = self._cohorts.get(cohort.parent or "")
                borrowing = 0 if parent is None else cohort.borrowing.get(key)
                most = None if borrowing is None else self._subtree(cohort, key) + borrowing
                yield Limit(cohort.name, key, most, 0 if parent is None else self._own(cohort, key))
                cohort = parent

    def nominal(self, member: Queue | Cohort, key: str) -> int:
        """A queue's own quota; of a cohort its own and what its members bring."""
        return self._subtree(member, key)

    def used(self, member: Queue | Cohort, key: str) -> int:
        """What a queue holds; of a cohort all that its members hold."""
        if isinstance(member, Queue):
            return self.held(member.key, key)
        below = self._below(member.name)
        return sum(self.held(other.key, key) for other in below if isinstance(other, Queue))

    def available(self, member: Queue | Cohort, key: str) -> int | None:
        """What a member may still take, own or borrowed; None: no limit."""
        found = self._available(member, key)
        return None if found >= _NO_LIMIT else found

    def keep(self, queue: Queue, model: str, devices: int) -> None:
        """Lets nobody else of the queue use in this cycle what is left of the quota that lacks something for so many
        devices: who asks for them waits. Of several the one who asks for the most counts: once there is enough for
        the first it may lack devices, and then it is kept for the next.
        """
        asked, kept = dict(self.amounts(model, devices)), self._kept.setdefault(queue.key, {})
        for key in self.lacks(queue, model, devices):
            if asked[key] > kept.get(key, 0):
                kept[key] = asked[key]
                self._refused.clear()

    def kept_for(self, queue: QueueKey, model: str) -> int:
        """How many devices count for as much as is asked for at most by whom it is kept for; 0: it is not kept."""
        kept = self._kept.get(queue)
        amounts = self.amounts(model, 1) if kept else ()
        return max([-(-kept.get(key, 0) // one) for key, one in amounts if one], default=0) if kept else 0

    def moment(self, queue: QueueKey) -> tuple[object, int]:
        """As long as it is the same the queue has the same answers: what is kept for its jobs only grows."""
        return self.given, sum(self._kept.get(queue, _NOTHING).values())

    # --- the tree -----------------------------------------------------------------------------------------

    def _pass_on(self, member: Queue | Cohort, key: str, before: int, after: int) -> None:
        """What a member uses beyond what it keeps for itself, it uses of its parent's hands."""
        parent = self._cohorts.get(parent_of(member) or "")
        if parent is None:
            return
        own = self._own(member, key)
        more = max(0, after - own) - max(0, before - own)
        if not more:
            return
        at = (parent.name, key)
        used = self._usage.get(at, 0)
        self._usage[at] = used + more
        self._pass_on(parent, key, used, used + more)

    def _available(self, member: Queue | Cohort, key: str) -> int:
        """What a member may still take, own or borrowed."""
        parent = self._cohorts.get(parent_of(member) or "")
        if not self._limited(member, key):
            return _NO_LIMIT
        used = self._used(member, key)
        if parent is None:
            return self._subtree(member, key) - used
        own = self._own(member, key)
        from_parent = self._available(parent, key)
        limit = member.borrowing.get(key)
        if limit is not None:
            lent = self._subtree(member, key) - own
            from_parent = min(from_parent, lent - max(0, used - own) + limit)
        return max(0, own - used) + from_parent

    def _most(self, member: Queue | Cohort, key: str) -> int:
        """What a member could take at most were nothing used."""
        parent = self._cohorts.get(parent_of(member) or "")
        if parent is None:
            return self._subtree(member, key)
        limit = member.borrowing.get(key)
        most = self._own(member, key) + self._most(parent, key)
        return most if limit is None else min(most, self._subtree(member, key) + limit)

    def _used(self, member: Queue | Cohort, key: str) -> int:
        if isinstance(member, Queue):
            return self.held(member.key, key)
        return self._usage.get((member.name, key), 0)

    def _own(self, member: Queue | Cohort, key: str) -> int:
        """What is never lent."""
        lending = member.lending.get(key)
        return 0 if lending is None else max(0, self._subtree(member, key) - lending)

    def _subtree(self, member: Queue | Cohort, key: str) -> int:
        """Quota of a member with what its own members bring."""
        if isinstance(member, Queue):
            return member.nominal.get(key, 0)
        at = (member.name, key)
        if at not in self._quota:
            quota = member.nominal.get(key, 0)
            for child in self._children.get(member.name, ()):
                quota += self._subtree(child, key) - self._own(child, key)
            self._quota[at] = quota
        return self._quota[at]

    def _limited(self, member: Queue | Cohort, key: str) -> bool:
        """Whether anybody in the member's tree says anything about the key."""
        if key in member.nominal:
            return True
        root = self._root(member)
        if root is None:
            return isinstance(member, Cohort) and self._limits_in(member.name, key)
        return self._limits_in(root, key)

    def _limits_in(self, root: str, key: str) -> bool:
        known = self._limits.get((root, key))
        if known is None:
            known = self._limits[root, key] = any(key in other.nominal for other in self._below(root))
        return known

    def _root(self, member: Queue | Cohort | None) -> str | None:
        name = None
        while member is not None and (parent := parent_of(member)) is not None:
            name = parent
            member = self._cohorts.get(parent)
        return name

    def _below(self, name: str) -> Iterator[Queue | Cohort]:
        cohort = self._cohorts.get(name)
        if cohort is not None:
            yield cohort
        for child in self._children.get(name, ()):
            if isinstance(child, Queue):
                yield child
            else:
                yield from self._below(child.name)


def _what(key: str) -> str:
    return key if key != COMPUTE else "TFLOPS"


def _up(ppm: int) -> int:
    """Devices that hold so many millionths of one."""
    return -(-ppm // WHOLE_PPM)


_NOTHING: Mapping[str, int] = {}


def sharing_of(
    queues: Iterable[Queue],
    cohorts: Iterable[Cohort],
    catalogue: Catalogue,
    held: Mapping[QueueKey, Mapping[str, int]] | None = None,
    held_parts: Mapping[QueueKey, Mapping[str, int]] | None = None,
) -> Sharing:
    """The arithmetic of quotas outside of a cycle: devices held, and millionths of those held in parts."""
    snapshot = Snapshot(
        catalogue=catalogue,
        nodes=(),
        queues={queue.key: queue for queue in queues},
        classes=(),
        held=held or {},
        held_parts=held_parts or {},
        cohorts={cohort.name: cohort for cohort in cohorts},
    )
    return Sharing(snapshot, PlannerConfig())
