"""LogService: output of jobs, appended to files as it comes."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from protos.suanli.fleet.v1 import logs_pb2, logs_pb2_grpc
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.rpc.allowances import Allowances, StreamLimits
from scheduler.rpc.identity import calling
from scheduler.rpc.metrics import LOG_BYTES
from scheduler.rpc.statuses import Context, StreamEnded, refusals
from scheduler.services.evidence import NodeKey
from scheduler.services.tasks import TaskOutput, task_output
from scheduler.storage.engine import Database
from scheduler.storage.job_logs import MOST_LOCAL_RANK, JobLogs, LogKey, Stream
from scheduler.storage.uninterrupted import whole

MOST_CHUNK_BYTES = 65_536
# Allocations looked up by one stream; a node has far fewer tasks before its agent connects anew.
MOST_KNOWN = 4096

_Requests = AsyncIterator[logs_pb2.AppendRequest]

_STREAMS: dict[int, Stream] = {
    logs_pb2.LOG_STREAM_STDOUT: "stdout",
    logs_pb2.LOG_STREAM_STDERR: "stderr",
}


class LogServicer(logs_pb2_grpc.LogServiceServicer):
    """Takes output in."""

    def __init__(self, database: Database, job_logs: JobLogs) -> None:
        self._database = database
        self._job_logs = job_logs
        self._allowances = Allowances(StreamLimits())  # what comes over a stream is bounded by its answers

    async def Append(self, requests: _Requests, context: Context) -> None:
        """One agent's output, each chunk answered by how much of its stream is stored."""
        async with refusals(context, "Append"), calling(self._database, self._allowances, context) as key:
            await self._take_in(key, requests, context)

    async def _take_in(self, key: NodeKey, requests: _Requests, context: Context) -> None:
        known: dict[str, TaskOutput] = {}
        async for request in requests:
            _check(request)
            output = known.get(request.allocation_id)
            if output is None:
                output = await whole(self._output_of(key.node_id, request.allocation_id))
                if len(known) >= MOST_KNOWN:
                    known.clear()
                known[request.allocation_id] = output
            if request.local_rank >= output.processes:
                raise Invalid([_no_such_process(request.local_rank, output.processes)])
            stored = await self._append(output, request)
            await context.write(
                logs_pb2.AppendResponse(
                    allocation_id=request.allocation_id,
                    local_rank=request.local_rank,
                    stream=request.stream,
                    stored=stored,
                )
            )

    async def _output_of(self, node_id: str, allocation_id: str) -> TaskOutput:
        async with self._database.read() as session:
            return await task_output(session, node_id, allocation_id)

    async def _append(self, output: TaskOutput, request: logs_pb2.AppendRequest) -> int:
        key = LogKey(
            output.firm_id,
            output.job_id,
            output.attempt,
            output.rank,
            request.local_rank,
            _STREAMS[request.stream],
        )
        # In a thread: a slow disk must not hold the control streams of other nodes.
        return await asyncio.to_thread(self._write, key, request.offset, request.data, request.complete)

    def _write(self, key: LogKey, offset: int, data: bytes, complete: bool) -> int:
        try:
            before = self._job_logs.stored(key)
            stored = self._job_logs.append(key, offset, data) if data else before
            LOG_BYTES.inc(max(self._job_logs.stored(key) - before, 0))
            if complete and offset + len(data) <= stored:
                self._job_logs.complete(key)
        except OSError as error:
            detail = f"the gateway cannot store output: {error.strerror}"
            raise StreamEnded(grpc.StatusCode.UNAVAILABLE, detail) from error
        return stored


def _no_such_process(local_rank: int, processes: int) -> FieldProblem:
    return FieldProblem("local_rank", str(local_rank), f"below {processes}, the task's processes")


def _check(request: logs_pb2.AppendRequest) -> None:
    problems = []
    if "\0" in request.allocation_id or not 1 <= len(request.allocation_id) <= 64:
        problems.append(FieldProblem("allocation_id", "no id", "an id of an allocation"))
    if request.local_rank > MOST_LOCAL_RANK:
        problems.append(FieldProblem("local_rank", str(request.local_rank), f"at most {MOST_LOCAL_RANK}"))
    if request.stream not in _STREAMS:
        problems.append(FieldProblem("stream", str(request.stream), "stdout or stderr"))
    if len(request.data) > MOST_CHUNK_BYTES:
        problems.append(
            FieldProblem("data", f"{len(request.data)} bytes", f"at most {MOST_CHUNK_BYTES} bytes")
        )
    if request.offset > 1 << 48:
        problems.append(FieldProblem("offset", str(request.offset), "a smaller number"))
    if problems:
        raise Invalid(problems)
