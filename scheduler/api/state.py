"""What all requests of one API process share, and how a route gets at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from scheduler.api.config import ApiConfig
from scheduler.api.courier import Courier, WebhookSigner
from scheduler.api.event_tail import EventTail
from scheduler.api.log_watch import LogWatch, SharedOutput
from scheduler.api.outgoing import Outgoing, context_with
from scheduler.api.pulse import Pulse
from scheduler.api.rate_limits import RateLimits
from scheduler.api.schemas.jobs import job_json
from scheduler.api.tokens import Tokens
from scheduler.catalogue import Catalogue, load_catalogue
from scheduler.services.identities import Identities
from scheduler.services.job_pages import Found, JobAnswers
from scheduler.services.possible import Known
from scheduler.services.principals import Keyring
from scheduler.services.sealing import SecretKeys
from scheduler.services.submission import Submission, Submitted, Submitter
from scheduler.services.trial import Trials
from scheduler.storage.content import ContentStore
from scheduler.storage.direct import Direct
from scheduler.storage.engine import Database
from scheduler.storage.gathered import Gathered
from scheduler.storage.job_logs import JobLogs
from scheduler.storage.pokes import Channel, Poker
from scheduler.tunnels.dial import TunnelDialer


@dataclass(slots=True)
class Api:
    """Made once for each application."""

    config: ApiConfig
    database: Database
    direct: Direct
    catalogue: Catalogue
    job_logs: JobLogs
    log_watch: LogWatch
    pulse: Pulse
    event_tail: EventTail
    tunnels: TunnelDialer
    content: ContentStore
    known: Known
    keyring: Keyring
    tokens: Tokens
    controller: Poker
    submissions: Gathered[Submission, Submitted]
    job_answers: JobAnswers
    found_jobs: Gathered[str, Found | None]
    rate_limits: RateLimits
    trials: Trials
    secret_keys: SecretKeys
    courier: Courier | None = None  # None: nothing is delivered from here
    versions: Mapping[str, str] = field(default_factory=dict)

    def now_ms(self) -> int:
        """The moment, in ms UTC."""
        return self.config.now_ms()

    async def close(self) -> None:
        """End what is under way, of which each may have happened or not, and then the connections."""
        for work in (self.keyring, self.found_jobs, self.submissions, self.controller, self.direct):
            await work.close()
        await self.database.dispose()


def make_api(config: ApiConfig) -> Api:
    """The shared state of a new application. Connects to nothing yet."""
    database = Database(config.database_url, "suanli-api", config.pool_size)
    job_logs = SharedOutput(config.job_log_folder)
    catalogue = load_catalogue()
    known = Known()
    direct = Direct(config.database_url, "suanli-api-direct")
    pulse = Pulse()
    job_answers = JobAnswers(direct, job_json)
    controller = Poker(direct, Channel.INBOX)
    submitter = Submitter(database, direct, catalogue, known, config.ids, controller)

    async def submissions(batch: Sequence[Submission]) -> Sequence[Submitted | Exception]:
        return await submitter.submit(batch, job_json, config.now_ms())

    courier = None
    if config.webhook_key != Path():
        outgoing = Outgoing(config.webhook_networks, context_with(config.webhook_authorities))
        courier = Courier(database, outgoing, WebhookSigner.read(config.webhook_key), config.now_ms)
    return Api(
        config=config,
        database=database,
        direct=direct,
        catalogue=catalogue,
        job_logs=job_logs,
        log_watch=LogWatch(job_logs),
        pulse=pulse,
        event_tail=EventTail(direct, pulse),
        tunnels=TunnelDialer(config.authority, config.tunnel_secret),
        content=ContentStore(config.content_folder),
        known=known,
        keyring=Keyring(direct, config.now_ms),
        tokens=Tokens(config.issuers, Identities(database, direct, config.ids), config.now_ms),
        controller=controller,
        # While batches wait for the disk, the next ones are on their way to it.
        submissions=Gathered(submissions, at_once=4),
        job_answers=job_answers,
        found_jobs=Gathered(job_answers.find),
        rate_limits=RateLimits(config.requests_per_s),
        trials=Trials(database, catalogue, known, config.ids, config.planner),
        secret_keys=SecretKeys(config.secret_keys),
        courier=courier,
        versions={"suanli-scheduler": metadata.version("suanli-scheduler")},
    )


def api_of(connection: HTTPConnection) -> Api:
    """The shared state of the application that serves this connection."""
    return cast(Api, connection.app.state.api)


async def _api(request: Request) -> Api:
    return api_of(request)


ApiState = Annotated[Api, Depends(_api)]
