"""UsageService: signed windows in, acknowledgements out.

Two halves on one stream: the reader stores windows in batches, so that an agent which comes back with a day
of windows costs few commits; the acknowledger looks, when the ledger pokes and on a period, how far the
agent's chain is in the published log.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from protos.suanli.fleet.v1 import usage_pb2, usage_pb2_grpc
from scheduler.rpc.connections import now_ms, wait_any
from scheduler.rpc.identity import caller
from scheduler.rpc.metrics import WINDOW_FORKS, WINDOW_STORE_SECONDS, WINDOWS_REFUSED, WINDOWS_STORED
from scheduler.rpc.statuses import Context, printable, refusals
from scheduler.services.evidence import Intake, Logged, NodeKey, logged_windows, store_windows
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.uninterrupted import whole
from suanli.evidence.windows import SaltedSegment, SignedWindow

BATCH_WINDOWS = 32
QUEUED_WINDOWS = 64

_log = structlog.get_logger(__name__)
_Requests = AsyncIterator[usage_pb2.UploadRequest]


@dataclass(eq=False, slots=True)
class UsageStream:
    """One open usage stream."""

    key: NodeKey
    stored_seq: int = 0
    acknowledged: int = 0
    logged: asyncio.Event = field(default_factory=asyncio.Event)
    news: tuple[int, bytes] | None = None  # highest number in the log, and the log checkpoint over it
    # gRPC takes one message of a stream at a time, and both halves write.
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self, context: Context, response: usage_pb2.UploadResponse) -> None:
        """Send one message."""
        async with self.writing:
            await context.write(response)

    def tell(self, seq: int, log_checkpoint: bytes) -> None:
        """Acknowledge up to `seq` soon."""
        if seq > self.acknowledged:
            self.news = (seq, log_checkpoint)
            self.logged.set()


class Uploads:
    """All usage streams of this gateway, and the one query that acknowledges for all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: set[UsageStream] = set()
        self.poked = asyncio.Event()

    def open(self, upload: UsageStream) -> None:
        """Take a stream in; it is told soon how far its chain is logged."""
        self._open.add(upload)
        self.poked.set()

    def close(self, upload: UsageStream) -> None:
        """The stream ended."""
        self._open.discard(upload)

    async def look(self) -> None:
        """Tell each stream how far its chain is in the published log. Raises DatabaseAway."""
        waiting = list(self._open)
        if not waiting:
            return
        keys = {upload.key.key_id: upload.key.node_id for upload in waiting}
        async with self._database.read() as session:
            logged: Logged = await logged_windows(session, keys)
        for upload in waiting:
            upload.tell(logged.seqs.get(upload.key.key_id, 0), logged.log_checkpoint)

    async def serve(self, stop: asyncio.Event, period_s: float) -> None:
        """Acknowledge when poked and on a period, until `stop`."""
        while not stop.is_set():
            self.poked.clear()
            try:
                await self.look()
            except DatabaseAway as error:
                _log.warning("acknowledgements_wait", reason=str(error))
            await wait_any([self.poked, stop], period_s)


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """Takes windows in."""

    def __init__(self, database: Database, uploads: Uploads) -> None:
        self._database = database
        self._uploads = uploads

    async def Upload(self, requests: _Requests, context: Context) -> None:
        """One agent's windows, until it ends the stream."""
        async with refusals(context, "Upload"):
            upload = UsageStream(await caller(self._database, context))
            queue: asyncio.Queue[SignedWindow | None] = asyncio.Queue(QUEUED_WINDOWS)
            self._uploads.open(upload)
            reading = asyncio.create_task(_read(requests, queue))
            storing = asyncio.create_task(self._store(upload, queue, context))
            acknowledging = asyncio.create_task(_acknowledge(upload, context))
            tasks = {reading, storing, acknowledging}
            try:
                # The reader ends first and in peace; the stream lives until what it read is stored.
                while storing in tasks:
                    done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            finally:
                self._uploads.close(upload)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _store(
        self, upload: UsageStream, queue: "asyncio.Queue[SignedWindow | None]", context: Context
    ) -> None:
        while True:
            window = await queue.get()
            batch: list[SignedWindow] = []
            while window is not None:
                batch.append(window)
                if len(batch) == BATCH_WINDOWS or queue.empty():
                    break
                window = queue.get_nowait()
            if batch:
                with WINDOW_STORE_SECONDS.time():
                    intake = await whole(self._keep(upload.key, batch))
                await self._answer(upload, intake, context)
            if window is None:
                return

    async def _keep(self, key: NodeKey, batch: Sequence[SignedWindow]) -> Intake:
        async with self._database.transaction() as session:
            return await store_windows(session, key, batch, now_ms())

    async def _answer(self, upload: UsageStream, intake: Intake, context: Context) -> None:
        WINDOWS_STORED.inc(intake.stored)
        for refusal in intake.refused:
            field_name = refusal.field.partition("[")[0].partition(".")[0]
            WINDOWS_REFUSED.labels(field=field_name[:32]).inc()
            if refusal.fork:
                WINDOW_FORKS.inc()
            _log.warning(
                "window_fork" if refusal.fork else "window_refused",
                node_id=upload.key.node_id,
                key_id=upload.key.key_id,
                seq=refusal.seq,
                field=refusal.field,
                detail=refusal.detail,
            )
            refused = usage_pb2.Refused(
                seq=refusal.seq, field=printable(refusal.field), detail=printable(refusal.detail)
            )
            await upload.write(context, usage_pb2.UploadResponse(refused=refused))
        if intake.stored_seq:
            upload.stored_seq = intake.stored_seq
            stored = usage_pb2.Stored(seq=intake.stored_seq)
            await upload.write(context, usage_pb2.UploadResponse(stored=stored))
            # A repeated window may be in the log already: then there will be no poke about it.
            self._uploads.poked.set()


async def _read(requests: _Requests, queue: "asyncio.Queue[SignedWindow | None]") -> None:
    """Put windows into the queue and None at the end; a full queue holds the agent back."""
    async for request in requests:
        segments = tuple(SaltedSegment(segment.salt, segment.body) for segment in request.segments)
        await queue.put(SignedWindow(request.header, request.signature, segments))
    await queue.put(None)


async def _acknowledge(upload: UsageStream, context: Context) -> None:
    while True:
        await upload.logged.wait()
        upload.logged.clear()
        if upload.news is None:
            continue
        (seq, note), upload.news = upload.news, None
        upload.acknowledged = seq
        acknowledged = usage_pb2.Acknowledged(seq=seq, log_checkpoint=note)
        await upload.write(context, usage_pb2.UploadResponse(acknowledged=acknowledged))
