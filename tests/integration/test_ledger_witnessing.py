"""Witnesses that fail, lag and come back never hold the log up, and what they sign is checked."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from suanli.evidence.keys import NOTE_COSIGNATURE_ED25519, SigningKey, verifier_key
from suanli.evidence.log_checkpoint import open_log_checkpoint
from suanli.evidence.policy import cosigners
from suanli.evidence.records import Firm
from tests.builders.database import DatabaseUrls
from tests.builders.evidence import seed
from tests.builders.ledger import (
    Keys,
    RunningWitness,
    World,
    make_keys,
    policy,
    running_ledger,
    running_witness,
)
from tests.builders.running import serving
from tests.builders.waiting import until


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "keys")


@pytest.fixture
async def world(database_urls: DatabaseUrls, keys: Keys) -> AsyncIterator[World]:
    made = World(database_urls, keys)
    yield made
    await made.close()


async def add_facts(world: World, first: int, count: int) -> None:
    """Facts firm/<first> and so on."""
    for number in range(first, first + count):
        await world.fact(Firm(f"firm-{number}", "n", 1), f"firm/{number}", f"firm-{number}")


async def logged(world: World, size: int) -> bool:
    """Whether the newest signed checkpoint has this size."""
    return await world.rows("SELECT max(size) FROM log_checkpoints") == [(size,)]


async def cosigned(world: World, name: str, size: int) -> bool:
    """Whether a witness has cosigned this size."""
    rows = await world.rows("SELECT 1 FROM cosignatures WHERE witness = :w AND size = :s", w=name, s=size)
    return rows == [(1,)]


async def test_two_witnesses_end_up_on_one_published_checkpoint(
    world: World, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        running_witness(tmp_path / "w1", keys.vkey) as first,
        running_witness(tmp_path / "w2", keys.vkey, "firm") as second,
    ):
        witnesses = [first.as_config(), second.as_config()]
        await add_facts(world, 0, 3)
        async with running_ledger(database_urls.ledger, keys, log, witnesses=witnesses):
            await until(lambda: cosigned(world, "auditor", 4))
            await until(lambda: cosigned(world, "firm", 4))

            async def published() -> bool:
                _, note = open_log_checkpoint((log / "checkpoint").read_bytes(), keys.vkey)
                return set(cosigners(policy(keys, first, second), note)[0]) == {"auditor", "firm"}

            await until(published)


async def test_a_witness_that_is_away_holds_nobody_up_and_catches_up(
    world: World, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    with running_witness(tmp_path / "w", keys.vkey) as witness:
        port = int(witness.url.rpartition(":")[2])
    # Nobody listens there now.
    away = replace(witness, url=f"http://127.0.0.1:{port}").as_config()
    await add_facts(world, 0, 2)
    async with running_ledger(database_urls.ledger, keys, tmp_path / "log", witnesses=[away]):
        await until(lambda: logged(world, 3))
        await add_facts(world, 2, 2)
        await until(lambda: logged(world, 5))
        assert await world.rows("SELECT count(*) FROM cosignatures") == [(0,)]
    with running_witness(tmp_path / "w", keys.vkey) as back:
        async with running_ledger(
            database_urls.ledger, keys, tmp_path / "log", witnesses=[back.as_config()], holder="second"
        ):
            await until(lambda: cosigned(world, "auditor", 5))


async def test_a_witness_that_knows_another_size_than_we_remember_is_met_where_it_is(
    world: World, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    with running_witness(tmp_path / "w", keys.vkey) as witness:
        await add_facts(world, 0, 2)
        config = {"witnesses": [witness.as_config()]}
        async with running_ledger(database_urls.ledger, keys, tmp_path / "log", **config):
            await until(lambda: cosigned(world, "auditor", 3))
        await world.execute("DELETE FROM cosignatures")
        await add_facts(world, 2, 1)
        async with running_ledger(database_urls.ledger, keys, tmp_path / "log", holder="second", **config):
            await until(lambda: cosigned(world, "auditor", 4))


@contextmanager
def impostor(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[int]]]:
    """An HTTP server that answers everything the same; with the number of requests so far."""
    asked: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(1)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            return

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked


KEY = verifier_key("witness.example/w", NOTE_COSIGNATURE_ED25519, SigningKey(seed("w")).public_key)
FALSE_LINE = RunningWitness("w", "", KEY)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 200),
        (b"\xff\xfe not a note\n", 200),
        ("— witness.example/other AAAAAAAA\n".encode(), 200),
        (b"x" * 100_000, 200),
        (b"7\n", 409),
        (b"0\n", 409),
        (b"many\n", 409),
        (b"no\n", 500),
    ],
    ids=["empty", "binary", "another key", "long", "ahead of us", "same size", "no number", "error"],
)
async def test_an_answer_that_is_no_cosignature_is_not_kept(
    world: World, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path, answer: bytes, status: int
) -> None:
    with impostor(answer, status) as (url, asked):
        config = replace(FALSE_LINE, url=url).as_config()
        await add_facts(world, 0, 1)
        async with running_ledger(database_urls.ledger, keys, tmp_path / "log", witnesses=[config]):
            await until(lambda: logged(world, 2))
            await until(lambda: _asked(asked))
            await add_facts(world, 1, 1)
            await until(lambda: logged(world, 3))
    assert await world.rows("SELECT count(*) FROM cosignatures") == [(0,)]
    _, note = open_log_checkpoint((tmp_path / "log/checkpoint").read_bytes(), keys.vkey)
    assert len(note.signatures) == 1


async def _asked(asked: list[int]) -> bool:
    return bool(asked)
