"""UsageService: signed windows in, acknowledgements out.

Two halves on one stream: the reader stores windows in batches, so that an agent which comes back with a day
of windows costs few commits; the acknowledger looks, when the ledger pokes and on a period, how far the
agent's chain is in the published log. Of all streams together one batch is checked while others are on their way
to the disk.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from protos.suanli.fleet.v1 import usage_pb2, usage_pb2_grpc
from scheduler.rpc.allowances import Allowances, StreamLimits
from scheduler.rpc.connections import now_ms, wait_any
from scheduler.rpc.identity import calling
from scheduler.rpc.metrics import (
    WINDOW_FORKS,
    WINDOW_STORE_SECONDS,
    WINDOWS_PACED,
    WINDOWS_REFUSED,
    WINDOWS_STORED,
)
from scheduler.rpc.statuses import Context, printable, refusals
from scheduler.services.evidence import NodeKey
from scheduler.services.windows import (
    Checked,
    Intake,
    Sent,
    SentWindow,
    check_windows,
    logged_windows,
    store_windows,
)
from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database, DatabaseAway
from scheduler.storage.gathered import Gathered
from scheduler.storage.pokes import Channel, Poker
from scheduler.storage.segments import unpacked_bytes
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import SIGNATURE_BYTES
from suanli.evidence.windows import SEGMENTS_PER_WINDOW, SaltedSegment, SignedWindow

BATCH_WINDOWS = 32
QUEUED_WINDOWS = 64
# Of all streams together, what came while the last statement ran goes into the next. Twice as many would be dearer a
# window: the first ones' bytes are in no cache any more when the statement is put together.
STATEMENT_WINDOWS = 512
# Statements under way at a time: while one waits for the disk, the next is made.
STATEMENTS = 2
# Between two looks at how far the log is: the first comes at once, and under load one tells many.
LOOK_REST_S = 0.02

# Initial metadata of a stream: what an agent may send that gateways of before do not know.
TAKES = (("takes", "packed"),)

_log = structlog.get_logger(__name__)
_Requests = AsyncIterator[usage_pb2.UploadRequest]


@dataclass(eq=False, slots=True)
class UsageStream:
    """One open usage stream."""

    key: NodeKey
    stored_seq: int = 0
    acknowledged: int = 0
    asked: bool = (
        False  # whether it was looked up at all: windows of an earlier stream may be in the log by now
    )
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

    def __init__(self, database: Direct) -> None:
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
        # Streams that wait for nothing are not asked about: there may be thousands of them.
        waiting = [u for u in self._open if u.stored_seq > u.acknowledged or not u.asked]
        if not waiting:
            return
        keys = {upload.key.key_id: upload.key.node_id for upload in waiting}
        logged = await logged_windows(self._database, keys)
        for upload in waiting:
            upload.asked = True
            upload.tell(logged.seqs.get(upload.key.key_id, 0), logged.log_checkpoint)

    async def serve(self, stop: asyncio.Event, period_s: float) -> None:
        """Acknowledge when poked and on a period, until `stop`."""
        while not stop.is_set():
            self.poked.clear()
            try:
                await self.look()
            except DatabaseAway as error:
                _log.warning("acknowledgements_wait", reason=str(error))
            await wait_any([stop], LOOK_REST_S)
            await wait_any([self.poked, stop], period_s)


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """Takes windows in."""

    def __init__(self, database: Database, direct: Direct, uploads: Uploads, limits: StreamLimits) -> None:
        self._database = database
        self._allowances = Allowances(limits)
        self._direct = direct
        self._uploads = uploads
        self._ledger = Poker(direct, Channel.EVIDENCE)
        self._checked: Gathered[Sent, Checked] = Gathered(
            self._check, most=STATEMENT_WINDOWS, size=lambda sent: len(sent.windows)
        )
        self._stored: Gathered[Checked, Intake] = Gathered(
            self._keep,
            most=STATEMENT_WINDOWS,
            at_once=STATEMENTS,
            size=lambda checked: len(checked.sent.windows),
        )

    async def Upload(self, requests: _Requests, context: Context) -> None:
        """One agent's windows, until it ends the stream."""
        async with refusals(context, "Upload"), calling(self._database, self._allowances, context) as key:
            await self._serve(UsageStream(key), requests, context)

    async def _serve(self, upload: UsageStream, requests: _Requests, context: Context) -> None:
        await context.send_initial_metadata(TAKES)
        queue = _Queue(self._allowances.limits.queued_bytes)
        self._uploads.open(upload)
        reading = asyncio.create_task(self._read(upload, requests, queue))
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

    async def _read(self, upload: UsageStream, requests: _Requests, queue: "_Queue") -> None:
        """Put windows into the queue and None at the end; a full queue holds the agent back."""
        node_id = upload.key.node_id
        async for request in requests:
            # What is to be packed first may be megabytes.
            window = _sent(request) if request.packed else await asyncio.to_thread(_sent, request)
            # All that came counts, also what nobody looks at.
            size = max(request.ByteSize(), len(window.header) + _unpacked(window.packed))
            await queue.put(window, size)
            wait_s = self._allowances.pace_s(node_id, size)
            if wait_s:
                WINDOWS_PACED.inc()
                await asyncio.sleep(wait_s)
        await queue.put(None, 0)

    async def _store(self, upload: UsageStream, queue: "_Queue", context: Context) -> None:
        while True:
            batch, ended = await queue.get(BATCH_WINDOWS)
            if batch:
                intake = await self._stored(await self._checked(Sent(upload.key, batch)))
                await self._answer(upload, intake, context)
                if intake.stored + len(intake.refused) < len(batch):
                    self._uploads.poked.set()  # one that came again may be in the log: no poke will tell of it
                self._allowances.refused(upload.key.node_id, len(intake.refused))
            if ended:
                return

    async def _check(self, batch: Sequence[Sent]) -> Sequence[Checked]:
        return await asyncio.to_thread(check_windows, batch, now_ms())

    async def _keep(self, batch: Sequence[Checked]) -> list[Intake | Exception]:
        with WINDOW_STORE_SECONDS.time():
            return await store_windows(self._direct, batch, self._ledger.poke)

    async def close(self) -> None:
        """End what is under way beside the streams. What is lost by it the agents send again."""
        await self._checked.close()
        await self._stored.close()
        await self._ledger.close()

    async def _answer(self, upload: UsageStream, intake: Intake, context: Context) -> None:
        WINDOWS_STORED.inc(intake.stored)
        # Before anything is awaited: who hears meanwhile that the log grew then looks at this stream too.
        upload.stored_seq = max(upload.stored_seq, intake.stored_seq)
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
            stored = usage_pb2.Stored(seq=intake.stored_seq)
            await upload.write(context, usage_pb2.UploadResponse(stored=stored))


def _sent(request: usage_pb2.UploadRequest) -> SentWindow:
    """The window of a request. Agents of before send theirs unpacked, none sends both or more than go into one."""
    header, signature, count = request.header, request.signature, len(request.segments)
    if len(signature) != SIGNATURE_BYTES:
        wrong = EvidenceError("signature", f"{len(signature)} bytes", f"{SIGNATURE_BYTES} bytes")
    elif count and request.packed:
        wrong = EvidenceError("segments", f"packed ones and {count} unpacked", "one of both")
    elif count > SEGMENTS_PER_WINDOW:
        wrong = EvidenceError("segments", count, f"at most {SEGMENTS_PER_WINDOW}")
    elif count or not request.packed:
        segments = tuple([SaltedSegment(segment.salt, segment.body) for segment in request.segments])
        return SentWindow.of(SignedWindow(header, signature, segments))
    else:
        return SentWindow(header, signature, request.packed)
    return SentWindow(header, b"", b"", wrong)


def _unpacked(packed: bytes) -> int:
    """How long segments are unpacked; 0 where nobody can unpack them."""
    try:
        return unpacked_bytes(packed)
    except EvidenceError:
        return 0


class _Queue:
    """Windows between the one reader and the one writer of a stream, bounded by their number and their bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._items: deque[tuple[SentWindow | None, int]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, window: SentWindow | None, size: int) -> None:
        """Add one, or None for the end; waits while the queue is full. A single one of any size fits in."""
        while self._items and (len(self._items) >= QUEUED_WINDOWS or self._bytes + size > self._most_bytes):
            self._emptied.clear()
            await self._emptied.wait()
        self._items.append((window, size))
        self._bytes += size
        self._filled.set()

    async def get(self, most: int) -> tuple[list[SentWindow], bool]:
        """Up to `most` windows, at least one unless the end came, and whether it did."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        windows: list[SentWindow] = []
        while self._items and len(windows) < most:
            window, size = self._items.popleft()
            self._bytes -= size
            if window is None:
                return windows, True
            windows.append(window)
        self._emptied.set()
        return windows, False


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
