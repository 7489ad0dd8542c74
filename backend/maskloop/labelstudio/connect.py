"""A backend as the settings want it, for processes that hold no model."""

from __future__ import annotations

from pydantic import SecretStr

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.private_redis import redis_of
from maskloop.dispatch.queues import QueueName
from maskloop.labelstudio.ahead import Ahead, Visits
from maskloop.labelstudio.api import LabelStudioApi
from maskloop.labelstudio.courier import Courier
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.service import Backend, Patience
from maskloop.labelstudio.showing import Showing
from maskloop.labelstudio.troubles import Troubles
from maskloop.learning.store import open_store
from maskloop.learning.versions import Versions, registry_of
from maskloop.settings import Settings


def connect_backend(settings: Settings) -> Backend:
    """Raises QueueUnavailable if there is no Redis."""
    redis = redis_of(settings)
    limits = {QueueName.INTERACTIVE: settings.max_waiting_clicks, QueueName.BATCH: settings.max_waiting_tasks}
    return Backend(
        Dispatcher(redis, limits),
        redis,
        versions_of(settings),
        patience=Patience(settings.click_deadline, settings.batch_deadline),
        delivers=access_of(settings) is not None,
        feedback=open_store(settings),
    )


def connect_courier(settings: Settings) -> Courier | None:
    """None without an address of Label Studio and a token. Raises QueueUnavailable if there is no Redis."""
    if not (api := api_of(settings)):
        return None
    redis = redis_of(settings)
    return Courier(Ledger(redis), Dispatcher(redis, {}), api, Troubles(redis))


def connect_ahead(settings: Settings) -> Ahead | None:
    """None if nothing is to be encoded ahead, or nobody can be asked what comes next."""
    if not settings.encode_ahead or not (api := api_of(settings)):
        return None
    redis = redis_of(settings)
    dispatcher = Dispatcher(redis, {QueueName.BATCH: settings.max_waiting_tasks})
    version = versions_of(settings).in_service
    return Ahead(Visits(redis), dispatcher, api, version=version, count=settings.encode_ahead)


def connect_showing(settings: Settings) -> Showing | None:
    """None without an address of Label Studio and a token. Raises QueueUnavailable if there is no Redis."""
    if not (api := api_of(settings)):
        return None
    versions = versions_of(settings)
    return Showing(redis_of(settings), api, version=versions.in_service, ours=versions.made)


def versions_of(settings: Settings) -> Versions:
    return Versions(registry_of(settings))


def api_of(settings: Settings) -> LabelStudioApi | None:
    """None without an address of Label Studio and a token."""
    found = access_of(settings)
    return LabelStudioApi(*found) if found else None


def access_of(settings: Settings) -> tuple[str, SecretStr] | None:
    """Label Studio's address and a token; None without both."""
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        return None
    return str(settings.label_studio_url), settings.label_studio_api_key
