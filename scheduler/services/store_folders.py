"""Object-store folders of one task: where each is, and the keys to it, from what is configured now."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.errors import NotFound
from scheduler.domain.jobs import Input, JobSpec, Output, WriteWhen
from scheduler.domain.object_stores import (
    ObjectStore,
    StoreCredentials,
    bucket_and_key,
    chosen,
    filled,
    read_credentials,
)
from scheduler.services.sealing import SecretKeys
from scheduler.services.secrets import open_secrets


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """What is fetched to a path of the task's folder, or written from there. `field`: how the job calls it."""

    field: str
    path: str
    store: ObjectStore
    bucket: str
    key: str
    credentials: StoreCredentials | None
    after_success_only: bool = False


@dataclass(frozen=True, slots=True)
class TaskStores:
    """All of a task's, with their keys."""

    inputs: tuple[StoreFolder, ...] = ()
    outputs: tuple[StoreFolder, ...] = ()


NO_STORES = TaskStores()


async def stores_of_task(
    session: AsyncSession,
    keys: SecretKeys | None,
    firm_id: str,
    spec: JobSpec,
    stores: Mapping[str, ObjectStore],
    values: Mapping[str, object],
) -> TaskStores:
    """With `values` in place of the placeholders. Raises NotFound for a store that the pool has no more, or a secret
    that is gone or holds no keys; Unavailable where secrets cannot be opened.
    """
    asked = [item.credentials for item in spec.inputs] + [item.credentials for item in spec.outputs]
    names = {name for name in asked if name is not None}
    secrets = await open_secrets(session, keys, firm_id, spec.project, names)

    def folder(field: str, item: Input | Output, place: str) -> StoreFolder:
        store = chosen(stores, item.store)
        if store is None:
            raise NotFound(f"{field}.store: this node's pool has no object store {item.store or ''} any more")
        bucket, key = bucket_and_key(filled(place, values))
        when = item.when if isinstance(item, Output) else WriteWhen.ALWAYS
        return StoreFolder(
            field=field,
            path=item.path,
            store=store,
            bucket=bucket,
            key=key,
            credentials=_credentials(field, item.credentials, secrets),
            after_success_only=when is WriteWhen.SUCCEEDED,
        )

    return TaskStores(
        inputs=tuple(
            folder(f"inputs[{n}]", item, item.object)
            for n, item in enumerate(spec.inputs)
            if item.object is not None
        ),
        outputs=tuple(
            folder(f"outputs[{n}]", item, item.object)
            for n, item in enumerate(spec.outputs)
            if item.object is not None
        ),
    )


def _credentials(field: str, name: str | None, secrets: Mapping[str, bytes]) -> StoreCredentials | None:
    if name is None:
        return None
    found = read_credentials(secrets[name])
    if found is None:
        raise NotFound(
            f"{field}.credentials: the secret {name} has no lines AWS_ACCESS_KEY_ID= and AWS_SECRET_ACCESS_KEY="
        )
    return found
