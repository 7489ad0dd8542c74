"""A real Label Studio, by its API, with a real `maskloop serve`: what the README promises holds."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO

import pytest
from PIL import Image

from e2e.scene import (
    COFFEE,
    COFFEE_BOX,
    CONFIG,
    CUP_BOX,
    HEIGHT,
    MESSAGES,
    SAUCER,
    TABLE,
    WIDTH,
    Project,
    Server,
    brush_mask,
    brush_region,
    click,
    holds,
    photo_file,
    rectangle,
)
from maskloop.errors import LabelStudioError

pytestmark = [pytest.mark.e2e, pytest.mark.weights]

Connect = Callable[..., Project]
Serve = Callable[..., AbstractContextManager[Server]]
Until = Callable[..., None]

INNER = "http://127.0.0.1:1/inner.png"
"""An image that no task may make the backend read."""
MANY = 1200
PICKING = """
<View>
  <KeyPointLabels name="point" toName="image" smart="true" maskloop_pick="true"><Label value="Cup"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image"><Label value="Cup"/></RectangleLabels>
  <Image name="image" value="$image"/>
</View>
"""


@pytest.fixture
def coffee(connected: Connect, maskloop_server: Server) -> tuple[Project, int]:
    """A project with that photo alone, and its task."""
    project = connected(maskloop_server, [photo_file("coffee.png")])
    [task] = project.tasks()
    return project, task["id"]


def test_a_connected_backend_says_its_version_and_offers_it(coffee: tuple[Project, int]) -> None:
    project, _ = coffee
    assert project.version
    assert project.version in project.label_studio.versions(project.connection)


def test_a_click_gives_the_mask_of_the_object(coffee: tuple[Project, int]) -> None:
    project, task = coffee
    prediction = project.interact(task, click(COFFEE))
    mask, region = brush_mask(prediction["result"]), brush_region(prediction["result"])
    assert holds(mask, COFFEE)
    assert not holds(mask, TABLE)
    assert prediction["model_version"] == project.version
    assert region["value"]["brushlabels"] == ["Cup"]
    assert region["score"] > 0.5


def test_a_further_click_adds_its_place_and_a_negative_one_takes_it_away(coffee: tuple[Project, int]) -> None:
    project, task = coffee
    both = brush_mask(project.interact(task, click(COFFEE), click(SAUCER))["result"])
    assert holds(both, COFFEE)
    assert holds(both, SAUCER)
    without = brush_mask(project.interact(task, click(COFFEE), click(SAUCER, positive=False))["result"])
    assert holds(without, COFFEE)
    assert not holds(without, SAUCER)


def test_a_rectangle_gives_the_mask_of_what_it_holds(coffee: tuple[Project, int]) -> None:
    project, task = coffee
    mask = brush_mask(project.interact(task, rectangle(*CUP_BOX))["result"])
    x, y, width, height = CUP_BOX
    rows = slice(int(y / 100 * HEIGHT), int((y + height) / 100 * HEIGHT))
    held = mask[rows, int(x / 100 * WIDTH) : int((x + width) / 100 * WIDTH)]
    assert held.sum() > 0.95 * mask.sum()
    assert held.mean() > 0.4


def test_two_clicks_pick_a_box_from_what_was_found_before(
    connected: Connect, maskloop_server: Server, until: Until
) -> None:
    """Two corners of the coffee, which lie on the cup. The first time, the photo's objects are looked for."""
    project = connected(maskloop_server, [photo_file("coffee.png")], PICKING)
    [task] = project.tasks()
    left, top, width, height = COFFEE_BOX
    corners = click((left / 100, top / 100)), click(((left + width) / 100, (top + height) / 100))
    before = maskloop_server.jobs_done("propose")
    project.interact(task["id"], *corners)
    until(lambda: maskloop_server.jobs_done("propose") > before, 60)
    [region] = project.interact(task["id"], *corners)["result"]
    assert region["type"] == "rectanglelabels"
    assert [region["value"][side] for side in ("x", "y", "width", "height")] == pytest.approx(COFFEE_BOX, abs=4)


def test_a_click_that_fails_says_why_where_the_configuration_has_a_place_for_it(
    connected: Connect, maskloop_server: Server
) -> None:
    project = connected(maskloop_server, [INNER])
    [task] = project.tasks()
    [region] = project.interact(task["id"], click(COFFEE))["result"]
    assert region["from_name"] == "message"
    assert "127.0.0.1" in region["value"]["text"][0]


def test_a_click_that_fails_is_an_error_in_any_other_configuration(connected: Connect, maskloop_server: Server) -> None:
    project = connected(maskloop_server, [INNER], CONFIG.replace(MESSAGES, ""))
    [task] = project.tasks()
    with pytest.raises(LabelStudioError, match=r"4\d\d Client Error"):
        project.interact(task["id"], click(COFFEE))


def test_a_batch_predicts_what_it_can_and_says_what_it_cannot(
    connected: Connect, maskloop_server: Server, until: Until
) -> None:
    project = connected(maskloop_server, [photo_file("coffee.png"), INNER, photo_file("chelsea.png")])
    good, other, bad = sorted(project.tasks(), key=lambda task: INNER in str(task["data"]))
    project.retrieve_predictions()
    until(lambda: all(task["predictions"] for task in project.tasks()), 120)
    predicted = {task["id"]: task["predictions"] for task in project.tasks()}
    for task in good, other:
        [prediction] = predicted[task["id"]]
        assert prediction["model_version"] == project.version
        assert prediction["result"]
        assert 0 < prediction["score"] < 1.1
    [prediction] = predicted[bad["id"]]
    assert prediction["model_version"].startswith(f"{project.version} failed: ")
    project.label_studio.show_version(project.id, project.version)


def test_a_submitted_annotation_reaches_the_feedback_store(
    coffee: tuple[Project, int], maskloop_server: Server, until: Until
) -> None:
    project, task = coffee
    region = brush_region(project.interact(task, click(COFFEE))["result"])
    annotation = project.label_studio.annotate(task, [region], lead_time=2.5)
    until(lambda: maskloop_server.annotation(annotation) is not None)


def test_the_next_photos_are_encoded_while_the_first_is_clicked(
    connected: Connect, maskloop_server: Server, until: Until
) -> None:
    before = maskloop_server.jobs_done("encode")
    project = connected(maskloop_server, [photo_file(name) for name in ("coffee.png", "rocket.jpg", "chelsea.png")])
    project.interact(min(task["id"] for task in project.tasks()), click(COFFEE))
    until(lambda: maskloop_server.jobs_done("encode") >= before + 2)


@pytest.mark.timeout(1200)
def test_all_of_many_tasks_are_predicted_once_or_visibly_failed_however_late(
    token: str, serve: Serve, connected: Connect, until: Until
) -> None:
    images = [small(name) for name in ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")] + [INNER]
    with serve(token, batch_deadline=5, interactive_workers=0) as server:
        project = connected(server, [images[number % len(images)] for number in range(MANY)])
        project.retrieve_predictions()
        early = Counter(len(task["predictions"]) for task in project.tasks())
        assert early[0], "all came in time: lateness wasn't tested"
        until(lambda: server.undelivered(project.id) == 0, 1000)
        project.retrieve_predictions()
        tasks = project.tasks()
    assert len(tasks) == MANY
    assert Counter(len(task["predictions"]) for task in tasks) == {1: MANY}
    for task in tasks:
        [prediction] = task["predictions"]
        failed = prediction["model_version"].startswith(f"{project.version} failed: ")
        assert failed == (task["data"]["image"] == INNER)
        assert failed or (prediction["model_version"] == project.version and prediction["result"])


def small(name: str) -> str:
    """A photo as a data URI of some kilobytes."""
    photo, file = Image.open(photo_file(name)), BytesIO()
    photo.thumbnail((120, 120))
    photo.save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
