"""The calls, one method each."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import httpx

from suanli.client import quota_types, types
from suanli.client.content import Progress, Sent, fetch_file, result_files, send_folder
from suanli.client.errors import Unreachable
from suanli.client.receipts import ReceiptCalls
from suanli.client.streams import follow_events, follow_logs
from suanli.client.surroundings import Surroundings
from suanli.client.transport import Transport, path_segment

_PAGE = 200


class Client(Surroundings):
    """A session with one server under one API key, or under what a sign-in gives. Also a context manager.

    Every method raises `Refused` (with the API's problem document) or its kinds, and `Unreachable`.
    """

    def __init__(
        self,
        server: str,
        api_key: str | Callable[[], str],
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        language: str = "en",
    ) -> None:
        self._transport = Transport(server, api_key, transport=transport, pause=pause, language=language)
        self._pause = pause
        self.receipts = ReceiptCalls(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._transport.server

    # --- Jobs

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> types.Job:
        """Submit a job. Safe against lost answers: a repetition carries the same idempotency key."""
        key = idempotency_key or secrets.token_urlsafe(24)
        answer = self._transport.request(
            "POST", "/v1/jobs", body=dict(spec), headers={"Idempotency-Key": key}, repeatable=True
        )
        return cast(types.Job, answer)

    def submit_many(
        self, specs: Sequence[Mapping[str, Any]], *, atomic: bool = True, idempotency_key: str | None = None
    ) -> types.Batch:
        """Submit up to 10,000 jobs, which may name each other: all or none, or each for itself."""
        key = idempotency_key or secrets.token_urlsafe(24)
        body = {"jobs": [dict(spec) for spec in specs], "atomic": atomic}
        headers = {"Idempotency-Key": key}
        answer = self._transport.request(
            "POST", "/v1/jobs/batch", body=body, headers=headers, repeatable=True
        )
        return cast(types.Batch, answer)

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        limit: int = 50,
        **wanted: str | Sequence[str] | None,
    ) -> list[types.Job]:
        """The newest jobs, at most `limit`. `state`: states, or live, or ended.

        Others of `GET /v1/jobs` may be named: project, name, queue, kind, priority, submitted_by, array,
        label (name=value), submitted_from, submitted_to, sort.
        """
        found: list[types.Job] = []
        cursor: str | None = None
        states = [state] if isinstance(state, str) else None if state is None else list(state)
        while len(found) < limit:
            query = {
                **wanted,
                "state": states,
                "limit": min(_PAGE, limit - len(found)),
                "cursor": cursor,
            }
            page = cast(types.JobPage, self._transport.request("GET", "/v1/jobs", query=query))
            found += page["jobs"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found

    def job(self, job_id: str) -> types.Job:
        """A job with where it is."""
        return cast(types.Job, self._read(f"/v1/jobs/{path_segment(job_id)}"))

    def cancel(self, job_id: str) -> types.Job:
        """Ask for a job to be stopped."""
        path = f"/v1/jobs/{path_segment(job_id)}/cancel"
        return cast(types.Job, self._transport.request("POST", path, repeatable=True))

    def hold(self, job_id: str) -> types.Job:
        """Keep a job from starting, or from starting again."""
        return self._act(job_id, "hold")

    def release(self, job_id: str) -> types.Job:
        """Let a held job start."""
        return self._act(job_id, "release")

    def requeue(self, job_id: str) -> types.Job:
        """Stop a job's attempt and let the job wait again."""
        return self._act(job_id, "requeue")

    def change(self, job_id: str, *, if_revision: int | None = None, **changes: Any) -> types.Job:
        """Change priority, time_limit_seconds, estimate_seconds, deadline, labels or budget; None: the default.

        `if_revision`: only if the job still has this revision; raises Refused (`precondition_failed`) if not.
        """
        path = f"/v1/jobs/{path_segment(job_id)}"
        headers = {} if if_revision is None else {"If-Match": f'"{if_revision}"'}
        return cast(types.Job, self._transport.request("PATCH", path, body=changes, headers=headers))

    def act_on_array(self, array_id: str, verb: str) -> int:
        """cancel, hold or release every job of an array that has not ended; returns how many."""
        path = f"/v1/arrays/{path_segment(array_id)}/{path_segment(verb)}"
        return int(self._transport.request("POST", path, repeatable=True)["jobs"])

    def _act(self, job_id: str, verb: str) -> types.Job:
        path = f"/v1/jobs/{path_segment(job_id)}/{verb}"
        return cast(types.Job, self._transport.request("POST", path, repeatable=True))

    def validate(self, spec: Mapping[str, Any]) -> types.Trial:
        """What would become of a job: on what, when and at what price. Nothing is submitted."""
        path = "/v1/jobs/validate"
        return cast(types.Trial, self._transport.request("POST", path, body=dict(spec), repeatable=True))

    def validate_many(self, specs: Sequence[Mapping[str, Any]], *, atomic: bool = True) -> types.Batch:
        """What would become of each job of a batch; nothing is submitted, and so there are no ids."""
        body, path = {"jobs": [dict(spec) for spec in specs], "atomic": atomic}, "/v1/jobs/batch/validate"
        return cast(types.Batch, self._transport.request("POST", path, body=body, repeatable=True))

    def waiting(self, queue: str = "default", *, limit: int = 100) -> list[types.Waiting]:
        """The waiting jobs of a queue (`name`, or `firm/name`) in their order, each with its first reason."""
        path = f"/v1/queues/{path_segment(queue)}/waiting"
        answer = self._transport.request("GET", path, query={"limit": limit})
        return cast(list[types.Waiting], answer["waiting"])

    def attempts(self, job_id: str) -> list[types.Attempt]:
        """The tries at running a job."""
        answer = self._read(f"/v1/jobs/{path_segment(job_id)}/attempts")
        return cast(list[types.Attempt], answer["attempts"])

    # --- Folders

    def send_folder(self, folder: Path, progress: Progress = lambda _what, _done, _total: None) -> Sent:
        """Send what the firm's store lacks of a folder; `digest` goes into a job's inputs. Raises FolderError."""
        return send_folder(self._transport, folder, progress)

    def uploads(self) -> dict[str, Any]:
        """The firm's uploads, last used first, and how much room all its content takes."""
        return cast(dict[str, Any], self._read("/v1/uploads"))

    def results(self, job_id: str) -> list[dict[str, Any]]:
        """What each task of each attempt left."""
        return cast(list[dict[str, Any]], self._read(f"/v1/jobs/{path_segment(job_id)}/results")["results"])

    def result_files(self, job_id: str, attempt: int, rank: int) -> list[dict[str, Any]]:
        """The files that a task left."""
        return result_files(self._transport, f"/v1/jobs/{path_segment(job_id)}/results/{attempt}/{rank}")

    def fetch_result(
        self,
        job_id: str,
        attempt: int,
        rank: int,
        file: dict[str, Any],
        target: Path,
        progress: Callable[[int], None] = lambda _: None,
        *,
        replace: bool = True,
    ) -> bool:
        """Download one of them, checked; False where it is there already. Unless another file at the target may be
        replaced: FileExistsError.
        """
        path = f"/v1/jobs/{path_segment(job_id)}/results/{attempt}/{rank}"
        return fetch_file(self._transport, path, file, target, progress, replace=replace)

    def explain(self, job_id: str) -> types.Explanation:
        """Why a job waits, runs where it runs, or ended."""
        return cast(types.Explanation, self._read(f"/v1/jobs/{path_segment(job_id)}/explain"))

    def logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        attempt: int | None = None,
        rank: int | None = None,
        stream: str | None = None,
        tail: int | None = None,
        since: str | None = None,
    ) -> Iterator[types.LogRecord]:
        """Output of a job's processes, from `since` (RFC 3339) on. With `follow` until the job has ended, over lost
        connections."""
        path = f"/v1/jobs/{path_segment(job_id)}/logs"
        query = {
            "attempt": attempt,
            "rank": rank,
            "stream": stream,
            "tail": tail,
            "since": since,
            "follow": "true" if follow else None,
        }
        if follow:
            yield from follow_logs(self._transport, path, query, self._pause)
            return
        with self._transport.stream(path, query=query) as answer:
            for line in answer.iter_lines():
                if line:
                    yield cast(types.LogRecord, json.loads(line))

    def download_log(self, job_id: str, attempt: int, rank: int, stream: str, target: Path) -> int:
        """Bring one stream's file up to what the server has now; what is there is not sent again. Its new bytes."""
        have = target.stat().st_size if target.exists() else 0
        path = f"/v1/jobs/{path_segment(job_id)}/logs/{attempt}/{rank}/{stream}"
        headers = {"Range": f"bytes={have}-"} if have else {}
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with self._transport.stream(path, headers=headers) as answer, target.open("ab") as out:
            for data in answer.iter_bytes():
                written += out.write(data)
        return written

    def events(
        self, *, job_id: str | None = None, after: int | None = None, follow: bool = True
    ) -> Iterator[types.Event]:
        """Events after a number, oldest first. With `follow` as they happen, over lost connections.

        A job's events begin with its first and end with its last; all others begin with what is new.
        """
        path = "/v1/events" if job_id is None else f"/v1/jobs/{path_segment(job_id)}/events"
        if follow:
            yield from follow_events(self._transport, path, after, self._pause)
            return
        seen = after or 0
        while True:
            page = self._transport.request("GET", path, query={"after": seen, "limit": _PAGE})
            yield from cast(list[types.Event], page["events"])
            if len(page["events"]) < _PAGE:
                return
            seen = int(page["next_after"])

    def wait(self, job_id: str) -> types.Job:
        """Wait until a job has ended."""
        for _ in self.events(job_id=job_id):
            pass
        return self.job(job_id)

    # --- What there is

    def nodes(self) -> types.Nodes:
        """Nodes as far as the caller may see them, and what is free."""
        return cast(types.Nodes, self._read("/v1/nodes"))

    def cordon(self, node: str, *, cordoned: bool = True) -> None:
        """Place no new tasks on a node (id or name), or do so again."""
        path = f"/v1/nodes/{path_segment(node)}/cordon"
        self._transport.request("POST", path, body={"cordoned": cordoned}, repeatable=True)

    def pools(self) -> list[types.Pool]:
        """Pools."""
        return cast(list[types.Pool], self._read("/v1/pools")["pools"])

    def queues(self) -> list[types.Queue]:
        """Queues."""
        return cast(list[types.Queue], self._read("/v1/queues")["queues"])

    def quotas(self) -> list[quota_types.Quota]:
        """Quotas with what is held of them and what may still be taken."""
        return cast(list[quota_types.Quota], self._read("/v1/quotas")["quotas"])

    def calendar(self) -> list[quota_types.CalendarEntry]:
        """Maintenance windows and advance reservations that are open or to come."""
        return cast(list[quota_types.CalendarEntry], self._read("/v1/calendar")["calendar"])

    def end_calendar_entry(self, name: str) -> None:
        """Ends an entry of the calendar now; operators."""
        self._transport.request("DELETE", f"/v1/calendar/{path_segment(name)}")

    def firms(self) -> list[types.Firm]:
        """Firms with their projects."""
        return cast(list[types.Firm], self._read("/v1/firms")["firms"])

    def models(self) -> list[types.Model]:
        """Device models that the catalogue knows."""
        return cast(list[types.Model], self._read("/v1/models")["models"])

    def prices(self) -> list[types.Price]:
        """Every price version, past and future."""
        return cast(list[types.Price], self._read("/v1/prices")["prices"])

    def programs(self) -> list[types.Program]:
        """Every version of every subsidy program, with its rules."""
        return cast(list[types.Program], self._read("/v1/programs")["programs"])

    # --- Usage and evidence

    def usage(self, *, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """Usage and exact charges by job and device model (times RFC 3339)."""
        query = {"from": from_, "to": to}
        return cast(dict[str, Any], self._transport.request("GET", "/v1/usage", query=query))

    def balance(self, *, from_: str | None = None, to: str | None = None) -> dict[str, Any]:
        """Every device-millisecond of the period in its bucket; operators and auditors."""
        query = {"from": from_, "to": to}
        return cast(dict[str, Any], self._transport.request("GET", "/v1/usage/balance", query=query))

    def bundle(self, file: Path, *, from_: str | None = None, to: str | None = None) -> int:
        """Download the evidence of a period; the file is there whole or not at all. Returns its bytes."""
        query = {"from": from_, "to": to}
        with self._transport.stream("/v1/bundle", query=query, read_timeout_s=600) as answer:
            return self._write_whole(answer, file)

    def proof_packet(
        self, file: Path, seed_checkpoint: bytes, indexes: Sequence[int], *, to: str | None = None
    ) -> int:
        """Download log entries that were drawn, each with its proof; whole or not at all. Returns the bytes."""
        body = {"seed_checkpoint": seed_checkpoint.decode("utf-8", "replace"), "indexes": list(indexes)}
        if to is not None:
            body["to"] = to
        with self._transport.stream(
            "/v1/proof-packets", read_timeout_s=600, method="POST", body=body
        ) as answer:
            return self._write_whole(answer, file)

    def sample_packet(self, file: Path, request: bytes) -> int:
        """Download what the nodes give of a request that `suanli sample` wrote. Returns the bytes."""
        asked: dict[str, Any] = {"method": "POST", "body": json.loads(request)}
        with self._transport.stream("/v1/sample-packets", read_timeout_s=1800, **asked) as answer:
            return self._write_whole(answer, file)

    def _write_whole(self, answer: httpx.Response, file: Path) -> int:
        temporary = file.with_name(f".suanli-{secrets.token_hex(16)}.part")  # NAME.part may be somebody's own
        written = 0
        try:
            with temporary.open("xb") as target:
                for chunk in answer.iter_bytes():
                    written += target.write(chunk)
            expected = answer.headers.get("content-length")
            if expected is not None and int(expected) != written:
                raise Unreachable(f"{self.server} sent {written} of {expected} bytes")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
        return written

    def close_period(self, from_: str, to: str) -> types.Period:
        """Close a period for good; operators."""
        body = {"from": from_, "to": to}
        return cast(types.Period, self._transport.request("POST", "/v1/periods", body=body))

    def log_checkpoint(self) -> bytes:
        """The newest signed log checkpoint, exact bytes."""
        with self._transport.stream("/log/checkpoint") as answer:
            return answer.read()

    # --- Administration

    def apply(self, configuration: Mapping[str, Any], *, dry_run: bool = False) -> types.Applied:
        """Make the installation as the file says; operators."""
        query = {"dry_run": "true" if dry_run else None}
        answer = self._transport.request(
            "POST", "/v1/apply", query=query, body=dict(configuration), repeatable=True
        )
        return cast(types.Applied, answer)

    def create_join_token(
        self, pool: str, *, uses: int = 1, lifetime_seconds: int = 24 * 3600
    ) -> types.JoinToken:
        """A token with which hosts become nodes of a pool; operators."""
        body = {"pool": pool, "uses": uses, "lifetime_seconds": lifetime_seconds}
        return cast(types.JoinToken, self._transport.request("POST", "/v1/join-tokens", body=body))

    def whoami(self) -> types.Whoami:
        """Who calls, and where they may act."""
        return cast(types.Whoami, self._read("/v1/whoami"))

    def issuers(self) -> list[types.Issuer]:
        """Where people sign in; empty where API keys alone open the server. Needs no key."""
        return cast(list[types.Issuer], self._read("/v1/issuers")["issuers"])

    def principals(self) -> list[types.Principal]:
        """Principals that the caller manages."""
        return cast(list[types.Principal], self._read("/v1/principals")["principals"])

    def create_principal(
        self, name: str, role: str, *, firm: str | None = None, kind: str = "user"
    ) -> types.Principal:
        """A user or a service token's principal."""
        body = {"name": name, "role": role, "firm": firm, "kind": kind}
        return cast(types.Principal, self._transport.request("POST", "/v1/principals", body=body))

    def disable_principal(self, name: str) -> None:
        """End every key of a principal at once and for good."""
        self._transport.request("POST", f"/v1/principals/{path_segment(name)}/disable", repeatable=True)

    def api_keys(self) -> list[types.ApiKey]:
        """Keys that the caller may revoke."""
        return cast(list[types.ApiKey], self._read("/v1/api-keys")["api_keys"])

    def create_api_key(
        self,
        principal: str | None = None,
        *,
        expires_in_days: int | None = None,
        scope: str = "administration",
    ) -> types.NewApiKey:
        """A key for a principal; None: for oneself. `scope`: read, jobs, or administration (everything)."""
        body = {"principal": principal, "expires_in_days": expires_in_days, "scope": scope}
        return cast(types.NewApiKey, self._transport.request("POST", "/v1/api-keys", body=body))

    def revoke_api_key(self, api_key_id: str) -> None:
        """End a key at once."""
        self._transport.request("DELETE", f"/v1/api-keys/{path_segment(api_key_id)}", repeatable=True)

    def version(self) -> dict[str, Any]:
        """What runs on the server."""
        return cast(dict[str, Any], self._read("/version"))
