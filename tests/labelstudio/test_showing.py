"""What a Label Studio project shows follows the version in service, with a real Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from maskloop.labelstudio.api import LabelStudioApi
from maskloop.labelstudio.ledger import Ledger, Wanted
from maskloop.labelstudio.projects import Projects
from maskloop.labelstudio.showing import Showing
from maskloop.labelstudio.troubles import Troubles

TITLE = "maskloop"
PROJECT = 3


@dataclass
class Project:
    """A project of Label Studio that refuses versions of which it has no prediction, as 1.23 does."""

    shown: str
    counts: dict[str, int]
    sampling: str = "Sequential sampling"
    tasks: int = 10
    refuses: int = 0
    shown_over_time: list[str] = field(default_factory=list)

    def api(self) -> LabelStudioApi:
        return LabelStudioApi("http://label.example", SecretStr("0" * 40), transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.refuses:
            return httpx.Response(self.refuses, json={"detail": "no"})
        match request.method, request.url.path:
            case "GET", "/api/projects/3/":
                about = {"model_version": self.shown, "sampling": self.sampling, "task_number": self.tasks}
                return httpx.Response(200, json=about)
            case "GET", "/api/projects/3/model-versions/":
                static = [{"model_version": name, "count": count} for name, count in self.counts.items()]
                return httpx.Response(200, json={"static": static, "live": [{"title": TITLE}]})
            case "PATCH", "/api/projects/3/":
                version = json.loads(request.content)["model_version"]
                if not self.counts.get(version):
                    return httpx.Response(400, json={"detail": "Model version doesn't exist"})
                self.shown = version
                self.shown_over_time.append(version)
                return httpx.Response(200, json={})
        raise AssertionError(f"{request.method} {request.url}")


class Service:
    """The version in service; the test promotes."""

    version = "v2"


def showing(redis: Redis, project: Project, service: Service | None = None) -> Showing:
    Projects(redis).remember(PROJECT, None)
    chosen = service or Service()
    return Showing(redis, project.api(), version=lambda _: chosen.version, ours=lambda: {"v1", "v2"})


def test_a_promoted_version_is_shown_once_there_are_predictions_of_it_and_a_rollback_at_once(redis: Redis) -> None:
    project, service = Project("v1", {"v1": 10}), Service()
    follower = showing(redis, project, service)
    assert "retrieve them" in follower.follow_all()[PROJECT]
    project.counts["v2"] = 10
    follower.follow_all()
    assert project.shown == "v2"
    service.version = "v1"
    follower.look_around()
    assert project.shown == "v1"
    follower.look_around()
    assert project.shown_over_time == ["v2", "v1"]


def test_predictions_under_way_are_waited_for(redis: Redis) -> None:
    project = Project("v1", {"v1": 10, "v2": 1})
    ledger = Ledger(redis)
    ledger.enlist([Wanted("e", PROJECT, 1, "v2")], lease=0)
    follower = showing(redis, project)
    follower.look_around()
    assert project.shown == "v1"
    ledger.finish(("e", PROJECT), {"model_version": "v2"})
    follower.look_around()
    assert project.shown == "v1"
    ledger.drop(("e", PROJECT))
    follower.look_around()
    assert project.shown == "v2"


@pytest.mark.parametrize(
    ("predicted", "sampling", "shown"),
    [
        (3, "Sequential sampling", TITLE),
        (10, "Sequential sampling", "v2"),
        (3, "Uncertainty sampling", "v2"),
        (0, "Uncertainty sampling", TITLE),
    ],
)
def test_a_connected_project_keeps_asking_until_that_is_of_no_more_use(
    redis: Redis, predicted: int, sampling: str, shown: str
) -> None:
    project = Project(TITLE, {"v2": predicted}, sampling)
    showing(redis, project).follow_all()
    assert project.shown == shown


@pytest.mark.parametrize("chosen", ["", "somebody else's"])
def test_what_people_chose_to_see_instead_stays(redis: Redis, chosen: str) -> None:
    project = Project(chosen, {"v2": 10})
    showing(redis, project).follow_all()
    assert project.shown == chosen


def test_why_label_studio_refuses_is_told_until_it_no_longer_does(redis: Redis) -> None:
    project = Project("v1", {"v1": 10, "v2": 10}, refuses=403)
    follower = showing(redis, project)
    told: Any = follower.follow_all()[PROJECT]
    assert "403" in told
    assert Troubles(redis).all() == {"3": told}
    project.refuses = 0
    follower.follow_all()
    assert project.shown == "v2"
    assert Troubles(redis).all() == {}


def test_a_project_that_was_deleted_is_forgotten(redis: Redis) -> None:
    follower = showing(redis, Project("v1", {}, refuses=404))
    assert follower.follow_all() == {PROJECT: "is gone"}
    assert follower.follow_all() == {}
    assert Troubles(redis).all() == {}
