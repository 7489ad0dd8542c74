"""A person's way through Label Studio's pages, in a real browser: what they do, and what they see."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from e2e.editor import Editor
from e2e.scene import (
    COFFEE,
    LABELS,
    MESSAGES,
    POINT_LABELS,
    SAUCER,
    SPOON,
    TABLE,
    Login,
    Mask,
    Project,
    Server,
    brush_mask,
    brush_region,
    holds,
    photo_file,
)

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.weights]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOT = Path(__file__).parents[2] / "docs" / "images" / "click.png"
VISIBLE = 12
"""Least change of a channel, of 255, that counts as seen."""

Connect = Callable[..., Project]
Until = Callable[..., None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium isn't installed here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1500, "height": 1020})
    yield page
    page.context.close()


def shown(editor: Editor) -> NDArray[np.int16]:
    """The pixels of the image as they are on the screen, (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(editor.image.screenshot())).convert("RGB")).astype(np.int16)


def changed(before: NDArray[np.int16], after: NDArray[np.int16]) -> Mask:
    return np.asarray(np.abs(after - before).max(axis=2) >= VISIBLE)


def shows(seen: Mask, mask: Mask) -> bool:
    """Whether the screen has changed where the mask of the photo is and, but for points and tools, nowhere else."""
    scaled = cv2.resize(mask.astype(np.uint8), seen.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return bool(seen[scaled].mean() > 0.9 and seen[~scaled].mean() < 0.15)


def test_clicks_become_a_mask_that_is_seen_refined_accepted_submitted_and_heard_of(
    page: Page, connected: Connect, maskloop_server: Server, login: Login, until: Until
) -> None:
    project = connected(maskloop_server, [photo_file("coffee.png")])
    [task] = project.tasks()
    Editor.log_in(page, project.label_studio.url, login.email, login.password)
    editor = Editor.open(page, project.label_studio.url, project.id, task["id"])
    before = shown(editor)
    editor.choose_label(POINT_LABELS, "Cup")
    editor.choose_tool("key-point-tool")

    first = brush_mask(editor.click(*COFFEE)["data"]["result"])
    until(lambda: editor.suggestions() == 1)
    assert holds(first, COFFEE)
    assert not holds(first, TABLE)
    until(lambda: shows(changed(before, shown(editor)), first))

    editor.choose_label(POINT_LABELS, "Cup")
    second = brush_mask(editor.click(*SAUCER)["data"]["result"])
    assert holds(second, COFFEE)
    assert holds(second, SAUCER)

    editor.choose_label(POINT_LABELS, "Cup")
    third = brush_mask(editor.click(*SPOON, negative=True)["data"]["result"])
    until(lambda: shows(changed(before, shown(editor)), third))
    assert not holds(third, SPOON)
    page.mouse.move(0, 0)
    page.screenshot(path=SCREENSHOT)

    editor.accept()
    accepted = brush_region(editor.regions())
    assert accepted["value"]["brushlabels"] == ["Cup"]
    submitted = editor.submit(task["id"])
    assert (brush_mask(submitted["result"]) == third).mean() > 0.999
    until(lambda: maskloop_server.annotation(submitted["id"]) is not None)


def test_a_mask_has_the_label_that_was_chosen_before_its_click_and_messages_have_none(
    page: Page, connected: Connect, maskloop_server: Server, login: Login, until: Until
) -> None:
    naming = f"""<View>{MESSAGES}<Labels name="naming" toName="image">{LABELS}</Labels>
      <Brush name="brush" toName="image" smart="false"/><KeyPoint name="point" toName="image" smart="true"/>
      <Rectangle name="box" toName="image" smart="true"/><Image name="image" value="$image"/></View>"""
    project = connected(maskloop_server, [photo_file("coffee.png")], naming)
    [task] = project.tasks()
    Editor.log_in(page, project.label_studio.url, login.email, login.password)
    editor = Editor.open(page, project.label_studio.url, project.id, task["id"])
    editor.choose_tool("key-point-tool")
    for label, place in (("Cup", COFFEE), ("Cat", TABLE)):
        editor.choose_label(0, label)
        editor.click(*place)
        until(lambda: editor.suggestions() == 1)
        editor.accept()
        until(lambda: editor.suggestions() == 0)
    result = editor.submit(task["id"])["result"]
    assert [region["value"]["labels"] for region in result if region["type"] == "labels"] == [["Cup"], ["Cat"]]
    assert [region["type"] for region in result if region["id"] == "maskloop-message"] == ["textarea"]


def test_a_click_that_fails_says_why_in_the_editor(
    page: Page, connected: Connect, maskloop_server: Server, login: Login, web: Any
) -> None:
    web.gives("/coffee.png", photo_file("coffee.png").read_bytes(), Access_Control_Allow_Origin="*")
    project = connected(maskloop_server, [f"{web.url}/coffee.png"])
    [task] = project.tasks()
    Editor.log_in(page, project.label_studio.url, login.email, login.password)
    editor = Editor.open(page, project.label_studio.url, project.id, task["id"])
    editor.choose_label(POINT_LABELS, "Cup")
    editor.choose_tool("key-point-tool")
    editor.click(*COFFEE)
    page.get_by_text(f"127.0.0.1:{web.port}").wait_for()
