"""Gives Label Studio's webhooks the header that lets them in.

Label Studio makes a webhook when a backend is connected, sends no Basic auth with it, and drops the error of one that
is refused: feedback would stop without a word.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

import httpx

from maskloop.credentials import same_origin
from maskloop.errors import LabelStudioError
from maskloop.labelstudio.api import LabelStudioApi
from maskloop.server.auth import WEBHOOK_HEADER

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
"""Seconds from ``/setup`` to a first look (while a backend is connected its webhook isn't there yet), and between looks
at last; doubles as long as there is nothing to be found."""

log = logging.getLogger("maskloop.webhooks")


@dataclass(frozen=True, slots=True)
class Place:
    """A project that was set up, and the host and port under which Label Studio reaches this server."""

    project: int
    host: str


class Webhooks:
    """Looks after the webhooks of every project that was set up. ``token``: what they have to send."""

    def __init__(self, api: LabelStudioApi, token: str) -> None:
        self._api = api
        self._token = token
        self._looks: dict[Place, tuple[float, float]] = {}
        self._told = ""
        self._lost: set[Place] = set()

    def expect(self, place: Place) -> None:
        """``/setup`` came from there."""
        self._looks.setdefault(place, (time.monotonic() + FIRST_PAUSE, FIRST_PAUSE))

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        while not stop.wait(FIRST_PAUSE):
            for place, (due, pause) in list(self._looks.items()):
                if time.monotonic() >= due:
                    pause = LONGEST_PAUSE if self.secure(place) else min(2 * pause, LONGEST_PAUSE)
                    self._looks[place] = time.monotonic() + pause, pause

    def secure(self, place: Place) -> bool:
        """Whether there are webhooks to ``place``, all of which send the token now."""
        try:
            hooks = self._api.webhooks(place.project)
            ours = [hook for hook in hooks if leads_to(hook["url"], place.host)]
            if not ours:
                self._tell_of_others(place, [hook["url"] for hook in hooks])
            for hook in ours:
                headers = hook.get("headers") or {}
                if headers.get(WEBHOOK_HEADER) != self._token:
                    self._api.set_webhook_headers(hook["id"], {**headers, WEBHOOK_HEADER: self._token})
                    log.info("project=%d webhook=%d now sends %s", place.project, hook["id"], WEBHOOK_HEADER)
        except LabelStudioError as error:
            if str(error) != self._told:
                log.warning("Webhooks can't be given their header, so feedback is refused: %s", error)
            self._told = str(error)
            return False
        return bool(ours)

    def _tell_of_others(self, place: Place, urls: list[str]) -> None:
        """Once: another backend may be connected too, or a proxy before this one gave it another ``Host``."""
        hosts = sorted({httpx.URL(url).netloc.decode() for url in urls if leads_to(url, None)})
        if hosts and place not in self._lost:
            self._lost.add(place)
            log.warning(
                "project=%d has a webhook to %s and none to %s, from where maskloop was set up. If one of them is "
                "maskloop, its feedback is refused: a proxy between them has to keep the header Host.",
                place.project,
                ", ".join(hosts),
                place.host,
            )


def leads_to(url: str, host: str | None) -> bool:
    """Whether a webhook's ``url`` is that of ``/webhook`` on ``host``, a name or address with its port if that isn't
    the scheme's own; None is any host."""
    try:
        found = httpx.URL(url)
        ours = host is None or same_origin(found, httpx.URL(f"{found.scheme}://{host}"))
    except httpx.InvalidURL:
        return False
    return ours and found.path.endswith("/webhook")
