"""Windows taken in, from signature to acknowledgement, and what the log costs when it is long.

`intake`: nodes of eight devices send windows; each batch is verified and stored as the gateway does it, given
its place in the log, archived, published under a signed log checkpoint, and looked up for acknowledgement. One
Python process without the wire; PostgreSQL and its disk are another process, whose CPU time is told apart.
The rate of bare Ed25519 checks in the same run says how fast the machine was at that moment.

`log`: entries are added to logs of growing size, and inclusion is proved in them, from real tiles on a disk.
Below what a case adds, the log's entries are all the same, so that ten million of them can be made from a few
hashes; what is added and proved touches as many tiles as it would in any other log.
"""

import gc
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import psutil
import psycopg
from sqlalchemy import text

from benchmarks.evidence_nodes import DEVICES, WINDOW_MS, Node, node, register
from benchmarks.harness import Row, quantile
from scheduler.ledger.publisher import Publisher
from scheduler.ledger.sequencer import Identity, Sequencer
from scheduler.ledger.tree import GrowingTree
from scheduler.process import runner_of
from scheduler.rpc.usage import STATEMENT_WINDOWS
from scheduler.services.windows import (
    Intake,
    Sent,
    SentWindow,
    check_windows,
    logged_windows,
    store_windows,
)
from scheduler.storage import migrate, roles
from scheduler.storage.direct import Direct
from scheduler.storage.embedded import ALL_ROLES, EmbeddedPostgres
from scheduler.storage.engine import Database, conninfo
from scheduler.storage.payload_archive import PayloadArchive
from scheduler.storage.tile_store import TileStore
from suanli.evidence.keys import SigningKey, verify_signature
from suanli.evidence.merkle import inclusion_proof, leaf_hash, node_hash, verify_inclusion
from suanli.evidence.tiles import (
    HEIGHT,
    WIDTH,
    TileReader,
    encode_entry_bundle,
    entry_bundles,
    hash_tiles,
    tile_path,
)
from suanli.evidence.windows import (
    SignedWindow,
    window_message,
)

ROUND_WINDOWS = 1_024  # what the ledger takes at once
GOAL_PROOF_MS = 5.0
WINDOWS_A_DAY = 86_400_000 // WINDOW_MS
GOAL_WINDOWS_PER_S = 2_000.0
CHECKS = 2_000
T0 = 1_800_000_000_000
LOG_SIZES = (100_000, 1_000_000, 10_000_000)
ADDED = 1_000
APPEND_RUNS = 5
PROOFS = 200


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds of one run."""

    wall_s: float
    python_s: float
    ledger_s: float  # of `python_s`: its leader sequences for all gateways
    database_s: float


def measure(windows: int, batch: int) -> list[Row]:
    """Rows of the intake of so many windows, sent `batch` at a time by each node, and of the long log."""
    folder = Path(mkdtemp(prefix="suanli-intake-"))
    try:
        with runner_of("ledger") as runner:
            rows = runner.run(_intake(folder, windows, batch))
        return [*rows, *_long_logs(folder)]
    finally:
        shutil.rmtree(folder)


async def _intake(folder: Path, windows: int, batch: int) -> list[Row]:
    passwords = {role: secrets.token_urlsafe(18) for role in ALL_ROLES}
    with EmbeddedPostgres(folder / "pg", passwords) as server:
        migrate.upgrade(server.url(roles.OWNER))
        nodes = [node(T0) for _ in range(max(ROUND_WINDOWS // batch, 1))]
        with psycopg.connect(conninfo(server.url(roles.OWNER))) as connection:
            connection.execute("INSERT INTO pools (name) VALUES ('p')")
            register(connection, nodes, "p")
        rounds = max(windows // (len(nodes) * batch), 1)
        signed = [[each.cut() for _ in range(rounds * batch)] for each in nodes]
        per_check_s = _bare_check_s(nodes[0], signed[0][0])
        sent = [[SentWindow.of(window) for window in each] for each in signed]
        spent = await _take_in(server, folder, nodes, sent, batch)
        per_check_s = min(per_check_s, _bare_check_s(nodes[0], signed[0][0]))
        count = len(nodes) * rounds * batch
        sizes = await _sizes(server.url(roles.OWNER), folder)
    per_window = {
        name: getattr(spent, f"{name}_s") / count for name in ("wall", "python", "ledger", "database")
    }
    gateway_s = per_window["python"] - per_window["ledger"]
    case = f"{count} windows of {DEVICES} devices, {batch} a transaction"
    rows = [
        Row("evidence", case, "bare Ed25519 checks", 1 / per_check_s, "/s", "higher"),
        Row("evidence", case, "accepted, by one core's CPU time", 1 / per_window["python"], "/s", "higher"),
        Row("evidence", case, "the same with PostgreSQL's CPU time",
            1 / (per_window["python"] + per_window["database"]), "/s", "higher", goal=GOAL_WINDOWS_PER_S),
        Row("evidence", case, "gateway's part, on a core of its own", 1 / gateway_s, "/s", "higher"),
        Row("evidence", case, "ledger's part, on a core of its own", 1 / per_window["ledger"], "/s", "higher"),
        Row("evidence", case, "accepted, by the clock", 1 / per_window["wall"], "/s", "higher"),
        Row("evidence", case, "CPU a window, in bare checks", per_window["python"] / per_check_s, "checks"),
        Row("evidence", case, "CPU of PostgreSQL a window", per_window["database"] * 1e6, "µs"),
    ]  # fmt: skip
    for name, size in sizes.items():
        per_day = size / count * WINDOWS_A_DAY / DEVICES
        rows.append(Row("evidence", case, f"{name} a device and day", per_day / 1024, "KiB"))
    return rows


async def _take_in(
    server: EmbeddedPostgres,
    folder: Path,
    nodes: Sequence[Node],
    windows: Sequence[Sequence[SentWindow]],
    batch: int,
) -> _Spent:
    """Everything in, round by round, until the last window may be acknowledged."""
    direct = Direct(server.url(roles.GATEWAY), "gateway")
    ledger = Database(server.url(roles.LEDGER), "ledger")
    log_key = SigningKey(os.urandom(32))
    identity = Identity("log.example/benchmark", log_key, SigningKey(os.urandom(32)).public_key)
    store, archive = TileStore(folder / "log"), PayloadArchive(folder / "payloads")
    publisher = Publisher(store, archive, identity.origin, log_key)
    await publisher.recover(ledger, _nobody_else_leads)
    sequencer = Sequencer(identity, 0)
    keys = {each.key.key_id: each.key.node_id for each in nodes}
    gc.freeze()  # the nodes' windows lie in this process only because it plays the nodes too
    process = psutil.Process(server.process.pid)
    began_s, python_s, database_s = time.perf_counter(), time.process_time(), _cpu_s(process)
    ledger_s = 0.0
    for first in range(0, len(windows[0]), batch):
        now_ms = T0 + len(windows[0]) * WINDOW_MS
        sent = [Sent(n.key, w[first : first + batch]) for n, w in zip(nodes, windows, strict=True)]
        for some in range(0, len(sent), STATEMENT_WINDOWS // batch):
            checked = check_windows(sent[some : some + STATEMENT_WINDOWS // batch], now_ms)
            for intake in await store_windows(direct, checked, lambda: None):
                assert isinstance(intake, Intake), intake
                assert not intake.refused, intake.refused[0]
        ledger_began_s, full = time.process_time(), True
        while full:
            async with ledger.transaction() as session:
                taken = await sequencer.sequence(session, T0)
            sequencer.size += len(taken.leaves)
            publisher.take(taken)
            full = taken.full
        publisher.write_tiles()
        note = publisher.sign()
        async with ledger.transaction() as session:
            await publisher.publish(session, note, T0)
        publisher.tidy()
        ledger_s += time.process_time() - ledger_began_s
        logged = await logged_windows(direct, keys)
        assert set(logged.seqs.values()) == {first + batch}
    spent = _Spent(
        time.perf_counter() - began_s,
        time.process_time() - python_s,
        ledger_s,
        _cpu_s(process) - database_s,
    )
    await direct.close()
    await ledger.dispose()
    return spent


async def _nobody_else_leads(_session: object) -> None:
    """There is one ledger here."""


def _cpu_s(process: psutil.Process) -> float:
    """CPU time of a server and of its living children."""
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def _bare_check_s(node: Node, window: SignedWindow) -> float:
    """Seconds of one signature check, the best of a few runs."""
    message = window_message(window.header)
    return min(
        _timed(lambda: verify_signature(node.key.public_key, message, window.signature), CHECKS)
        for _ in range(3)
    )


def _timed(work: Callable[[], object], times: int) -> float:
    began_s = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began_s) / times


async def _sizes(url: str, folder: Path) -> dict[str, int]:
    """Bytes that the windows take: published log, payload archive, database."""
    database = Database(url, "benchmark")
    async with database.read() as session:
        rows = await session.execute(
            text(
                "SELECT sum(pg_total_relation_size(CAST(t AS regclass))) FROM unnest(CAST(:t AS text[])) AS t"
            ),
            {"t": ["log_entries", "window_segments"]},
        )
        found = int(rows.scalar_one())
    await database.dispose()
    return {
        "published log": _bytes_below(folder / "log"),
        "payload archive": _bytes_below(folder / "payloads"),
        "database": found,
    }


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- a long log ------------------------------------------------------------------------------------------------


class _Uniform:
    """The tiles of a log whose entries are all the same, made as they are asked for."""

    def __init__(self, entry: bytes) -> None:
        self._entry = entry
        nodes = [leaf_hash(entry)]
        while len(nodes) <= 64:
            nodes.append(node_hash(nodes[-1], nodes[-1]))
        self._nodes = nodes

    def lay(self, store: TileStore, size: int) -> None:
        """Write the tiles at the log's right edge and a share of the others, as files."""
        wanted = {(level, index, width) for level, index, width in hash_tiles(size) if level or width < WIDTH}
        wanted |= {(0, n * (size // WIDTH) // PROOFS, WIDTH) for n in range(PROOFS)}
        for level, index, width in wanted:
            store.put(tile_path(level, index, width), self._nodes[level * HEIGHT] * width)
        for index, width in list(entry_bundles(size))[-1:]:
            path = tile_path(0, index, width).replace("tile/0", "tile/entries", 1)
            store.put(path, encode_entry_bundle([self._entry] * width))


def _long_logs(folder: Path) -> list[Row]:
    rows: list[Row] = []
    _append_us(folder / "warm", LOG_SIZES[0])  # what is done first pays for caches that are cold
    appends: dict[int, float] = {}
    for n in range(APPEND_RUNS):  # by turns: what else the machine does meets all sizes alike
        for size in LOG_SIZES:
            append_us = _append_us(folder / f"log-{size}-{n}", size)
            appends[size] = min(append_us, appends.get(size, append_us))
    for size, append_us in appends.items():
        case = f"log of {size:,} entries"
        against = append_us / appends[LOG_SIZES[0]]
        rows += [
            Row("evidence", case, "append, tiles written", append_us, "µs"),
            Row("evidence", case, "append, against the smallest log", against, "times", goal=1.5),
            Row("evidence", case, "inclusion proof, CPU p99", _proof_p99_ms(folder / f"log-{size}-0", size),
                "ms", goal=GOAL_PROOF_MS),
        ]  # fmt: skip
    return rows


def _append_us(folder: Path, size: int) -> float:
    """CPU time of one of a thousand entries more, with every tile that changes by it on the disk."""
    store = TileStore(folder)
    _Uniform(b"entry").lay(store, size)
    tree = GrowingTree.load(size, store.tile)
    entries = [f"{{entry {n}}}".encode().ljust(230) for n in range(ADDED)]
    began_s = time.process_time()
    for entry in entries:
        tree.append(entry)
    with store.together():
        for path, data in [*tree.drain_full(), *tree.partial()]:
            store.put(path, data)
    return (time.process_time() - began_s) / ADDED * 1e6


def _proof_p99_ms(folder: Path, size: int) -> float:
    """CPU time of inclusion proofs from the tiles in `folder`: not the clock, others use the machine too."""
    store, proofs_ms = TileStore(folder), []
    tree = GrowingTree.load(size, store.tile)
    for n in range(PROOFS):
        index = n * (size // WIDTH) // PROOFS * WIDTH + n % WIDTH
        began_s = time.process_time()
        proof = inclusion_proof(index, size, TileReader(size, store.tile))
        proofs_ms.append((time.process_time() - began_s) * 1000)
        assert verify_inclusion(index, size, leaf_hash(b"entry"), proof, tree.root())
    return quantile(proofs_ms, 0.99)
