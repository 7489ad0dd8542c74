"""The whole round with a real Label Studio: predictions, corrections, training, a new version, sampling, rollback."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from e2e.scene import COFFEE, CONFIG, JSON, Login, Project, Server, brush_region, click, photo_file
from maskloop.demo.label_studio import LabelStudio
from maskloop.learning.dataset import is_held_out
from maskloop.learning.registry import OFFICIAL

pytestmark = [pytest.mark.e2e, pytest.mark.weights]

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
ELSEWHERE = 0.4, 0.5


def scores(project: Project, version: str) -> dict[int, float]:
    """Of the predictions of a version, by task."""
    return {
        task["id"]: prediction["score"]
        for task in project.tasks()
        for prediction in task["predictions"]
        if prediction["model_version"] == version
    }


def shown(project: Project) -> str:
    return str(project.label_studio.project(project.id)["model_version"])


@pytest.mark.timeout(1200)
def test_what_people_correct_comes_back_as_a_version_and_can_be_taken_back(
    label_studio: LabelStudio,
    login: Login,
    serve: Callable[..., AbstractContextManager[Server]],
    connected: Callable[..., Project],
    until: Callable[..., None],
) -> None:
    """With a legacy token; the other tests use a personal access token."""
    token = login.legacy_token
    with serve(token, train_workers=1, train_every=0, encode_ahead=0, engine="torch-cpu") as server:
        project = connected(server, [photo_file(name) for name in PHOTOS], CONFIG)
        tasks = [task["id"] for task in project.tasks()]
        label_studio.update_project(project.id, show_collab_predictions=True, sampling="Uncertainty sampling")
        label_studio.update_project(project.id, model_version="maskloop")  # as connecting leaves it

        # Predictions, which the project comes to show by itself: then sampling is by their scores.
        project.retrieve_predictions()
        until(lambda: set(scores(project, project.version)) == set(tasks), 300)
        until(lambda: shown(project) == project.version, 60)
        first = scores(project, project.version)
        assert label_studio.next_task(project.id) == min(first, key=lambda task: first[task])

        # Corrections, at least one of which isn't held out.
        reviewed = sorted(tasks, key=lambda task: is_held_out(f"task {task}"))[:2]
        left = [task for task in tasks if task not in reviewed]
        corrected = [correct(project, task) for task in reviewed]
        until(lambda: all(server.annotation(one) for one in corrected), 60)

        # Start Training: the version is made, judged, and kept back, as so few masks prove nothing.
        registry = server.registry()
        label_studio.start_training(project.connection)
        until(lambda: any(registry.judgement(one.name) for one in registry.versions()), 300)
        [made] = [one.name for one in registry.versions() if one.name != OFFICIAL]
        judgement = registry.judgement(made)
        assert judgement
        assert "too few" in judgement.reason
        assert registry.in_service() == OFFICIAL

        # Promoted all the same: Label Studio shows it once it has its predictions.
        assert "retrieve them" in server.maskloop(label_studio, token, "models", "promote", made, "--force")
        assert label_studio.versions(project.connection) == [made]
        assert shown(project) == project.version
        project.retrieve_predictions()
        until(lambda: set(scores(project, made)) == set(tasks), 300)
        until(lambda: shown(project) == made, 60)
        assert project.interact(left[0], click(COFFEE))["model_version"] == made
        second = scores(project, made)
        assert label_studio.next_task(project.id) == min(left, key=lambda task: second[task])

        # And back.
        assert "its predictions are shown" in server.maskloop(label_studio, token, "models", "rollback")
        assert shown(project) == project.version
        assert label_studio.versions(project.connection) == [project.version]
        assert project.interact(left[0], click(COFFEE))["model_version"] == project.version


def correct(project: Project, task: int) -> int:
    """Annotate a task with another mask than a click gives; the annotation's number."""
    smaller = brush_region(project.interact(task, click(COFFEE))["result"])
    larger = brush_region(project.interact(task, click(COFFEE), click(ELSEWHERE))["result"])
    region: JSON = {**smaller, "value": larger["value"], "origin": "prediction-changed"}
    return project.label_studio.annotate(task, [region], lead_time=4.0)
