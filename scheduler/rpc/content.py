"""ContentService: what was sent along goes to the tasks that name it, what tasks leave is taken in."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from protos.suanli.fleet.v1 import content_pb2, content_pb2_grpc
from scheduler.domain.errors import FieldProblem, Invalid, NotFound
from scheduler.rpc.allowances import Allowances
from scheduler.rpc.connections import now_ms
from scheduler.rpc.identity import calling
from scheduler.rpc.metrics import CONTENT_BYTES
from scheduler.rpc.statuses import Context, StreamEnded, refusals
from scheduler.services.content import (
    Quota,
    lock_content,
    missing_objects,
    note_stored,
    reserve_objects,
)
from scheduler.services.evidence import NodeKey
from scheduler.services.results import note_result, task_that_leaves_results
from scheduler.services.tasks import TaskOutput, uploads_of_task
from scheduler.storage.content import ContentStore
from scheduler.storage.engine import Database
from scheduler.storage.uninterrupted import whole
from suanli.content.manifest import OBJECT_BYTES, ContentError, hash_of, parse_manifest

MOST_ASKED = 10_000
MOST_PROBLEM_CHARACTERS = 1_000
MOST_REMEMBERED = 64

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What a live task may fetch."""

    node_id: str
    firm_id: str
    objects: frozenset[str]


class ContentServicer(content_pb2_grpc.ContentServiceServicer):
    """Gives out and takes in."""

    def __init__(
        self, database: Database, store: ContentStore, quota: Quota, keep_ms: int, calls: Allowances
    ) -> None:
        self._database = database
        self._calls = calls
        self._store = store
        self._quota = quota
        self._keep_ms = keep_ms
        self._allowed: OrderedDict[str, _Allowed] = OrderedDict()

    async def FetchObject(
        self, request: content_pb2.FetchObjectRequest, context: Context
    ) -> content_pb2.FetchObjectResponse:
        """One object that an input of a live task names."""
        async with refusals(context, "FetchObject"), calling(self._database, self._calls, context) as key:
            _check_names([request.sha256], request.allocation_id)
            allowed = self._allowed.get(request.allocation_id)
            if allowed is None or allowed.node_id != key.node_id:
                allowed = await whole(self._look_up(key.node_id, request.allocation_id))
            if request.sha256 not in allowed.objects:
                raise NotFound("no input of the task names this object")
            data = await asyncio.to_thread(self._store.get, allowed.firm_id, request.sha256)
            if data is None:
                raise StreamEnded(
                    grpc.StatusCode.DATA_LOSS, f"object {request.sha256} is not in the store any more"
                )
            CONTENT_BYTES.labels(direction="to_task").inc(len(data))
            return content_pb2.FetchObjectResponse(data=data)
        raise AssertionError("refusals() ends every failed call")

    async def _look_up(self, node_id: str, allocation_id: str) -> _Allowed:
        async with self._database.read() as session:
            firm_id, uploads = await uploads_of_task(session, node_id, allocation_id)
        objects: set[str] = set()
        for wanted in uploads:
            data = await asyncio.to_thread(self._store.get, firm_id, wanted.manifest_sha256)
            objects.add(wanted.manifest_sha256)
            if data is not None:
                objects.update((await asyncio.to_thread(parse_manifest, data)).objects())
        allowed = _Allowed(node_id, firm_id, frozenset(objects))
        self._allowed[allocation_id] = allowed
        while len(self._allowed) > MOST_REMEMBERED:
            self._allowed.popitem(last=False)
        return allowed

    async def FindMissing(
        self, request: content_pb2.FindMissingRequest, context: Context
    ) -> content_pb2.FindMissingResponse:
        """Which objects of a task's results are still to be sent."""
        async with refusals(context, "FindMissing"), calling(self._database, self._calls, context) as key:
            _check_names(request.sha256, request.allocation_id)
            task = await self._task(key, request.allocation_id)
            missing = await whole(self._missing(task.firm_id, list(dict.fromkeys(request.sha256))))
            return content_pb2.FindMissingResponse(sha256=missing)
        raise AssertionError("refusals() ends every failed call")

    async def _missing(self, firm_id: str, wanted: list[str]) -> list[str]:
        async with self._database.transaction() as session:
            return await missing_objects(session, firm_id, wanted, now_ms())

    async def StoreObject(
        self, request: content_pb2.StoreObjectRequest, context: Context
    ) -> content_pb2.StoreObjectResponse:
        """One object of a task's results; durable when answered."""
        async with refusals(context, "StoreObject"), calling(self._database, self._calls, context) as key:
            if not 1 <= len(request.data) <= OBJECT_BYTES:
                raise Invalid([FieldProblem("data", f"{len(request.data)} bytes", f"1 to {OBJECT_BYTES}")])
            _check_names([], request.allocation_id)
            task = await self._task(key, request.allocation_id)
            await whole(self._store_object(task.firm_id, request.data))
            CONTENT_BYTES.labels(direction="from_task").inc(len(request.data))
            return content_pb2.StoreObjectResponse()
        raise AssertionError("refusals() ends every failed call")

    async def _store_object(self, firm_id: str, data: bytes) -> None:
        sizes = {hash_of(data): len(data)}
        async with self._database.transaction() as session:
            await reserve_objects(session, firm_id, sizes, self._quota, now_ms())
        try:
            await asyncio.to_thread(self._store.put, firm_id, data)
        except OSError as error:
            detail = f"the gateway cannot store results: {error.strerror}"
            raise StreamEnded(grpc.StatusCode.UNAVAILABLE, detail) from error
        async with self._database.transaction() as session:
            await note_stored(session, firm_id, sizes, now_ms())

    async def CompleteResults(
        self, request: content_pb2.CompleteResultsRequest, context: Context
    ) -> content_pb2.CompleteResultsResponse:
        """The last word about a task's results."""
        async with refusals(context, "CompleteResults"), calling(self._database, self._calls, context) as key:
            names = [request.manifest_sha256] if request.manifest_sha256 else []
            _check_names(names, request.allocation_id)
            task, delivered = await whole(self._task_of(key.node_id, request.allocation_id))
            if not delivered:  # else an agent repeats what it was not answered: the first word counts
                await whole(self._complete(task, request.manifest_sha256, request.problem))
            return content_pb2.CompleteResultsResponse()
        raise AssertionError("refusals() ends every failed call")

    async def _complete(self, task: TaskOutput, sha256: str, problem: str) -> None:
        size = files = 0
        names: list[str] = []
        if sha256:
            data = await asyncio.to_thread(self._store.get, task.firm_id, sha256)
            if data is None:
                raise Invalid([FieldProblem("manifest_sha256", sha256, "an object sent before")])
            try:
                manifest = await asyncio.to_thread(parse_manifest, data)
            except ContentError as error:
                raise Invalid([FieldProblem("manifest_sha256", str(error), "a manifest")]) from None
            size, files, names = manifest.size, len(manifest.files), [sha256, *manifest.objects()]
        said = problem.replace("\0", "�")[:MOST_PROBLEM_CHARACTERS] or None
        async with self._database.transaction() as session:
            await lock_content(session, task.firm_id)
            missing = await missing_objects(session, task.firm_id, names, now_ms())
            if missing:
                raise Invalid(
                    [FieldProblem("manifest_sha256", f"{len(missing)} missing objects", "all sent")]
                )
            await note_result(
                session,
                task,
                digest=sha256 or None,
                size=size,
                files=files,
                problem=said,
                now_ms=now_ms(),
                keep_ms=self._keep_ms if task.keep_ms is None else task.keep_ms,
            )

    async def _task(self, key: NodeKey, allocation_id: str) -> TaskOutput:
        task, delivered = await whole(self._task_of(key.node_id, allocation_id))
        if delivered:
            raise NotFound(f"the results of allocation {allocation_id} have been delivered")
        return task

    async def _task_of(self, node_id: str, allocation_id: str) -> tuple[TaskOutput, bool]:
        async with self._database.read() as session:
            return await task_that_leaves_results(session, node_id, allocation_id, now_ms())


def _check_names(hashes: Iterable[str], allocation_id: str) -> None:
    problems = []
    listed = list(hashes)
    if "\0" in allocation_id or not 1 <= len(allocation_id) <= 64:
        problems.append(FieldProblem("allocation_id", "no id", "an id of an allocation"))
    if len(listed) > MOST_ASKED:
        problems.append(FieldProblem("sha256", f"{len(listed)} hashes", f"at most {MOST_ASKED}"))
    if any(len(text) != 64 or not set(text) <= _HEX for text in listed):
        problems.append(FieldProblem("sha256", "something else", "64 hex digits"))
    if problems:
        raise Invalid(problems)
