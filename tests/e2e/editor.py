"""Label Studio's labeling page, as a person drives it. Selectors are those of Label Studio 1.23."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, Response

LABEL_STUDIO_LOADS = 60_000
"""Milliseconds: the first page of a fresh Label Studio takes long on two busy cores."""


@dataclass(frozen=True)
class Editor:
    """One open task with automatic annotation switched on."""

    page: Page

    @classmethod
    def log_in(cls, page: Page, url: str, email: str, password: str) -> None:
        page.goto(f"{url}/user/login/", timeout=LABEL_STUDIO_LOADS)
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(f"{url}/", timeout=LABEL_STUDIO_LOADS)

    @classmethod
    def open(cls, page: Page, url: str, project: int, task: int) -> Editor:
        page.goto(f"{url}/projects/{project}/data?task={task}", timeout=LABEL_STUDIO_LOADS)
        toggle = page.get_by_test_id("bottombar-auto-annotation-toggle")
        toggle.wait_for(state="attached", timeout=LABEL_STUDIO_LOADS)
        page.locator(".konvajs-content canvas").first.wait_for(timeout=LABEL_STUDIO_LOADS)
        if not toggle.is_checked():
            toggle.click(force=True)
        page.locator("button.lsf-tool_smart").first.wait_for()
        return cls(page)

    @property
    def image(self) -> Locator:
        return self.page.locator(".lsf-image").first

    def choose_label(self, group: int, label: str) -> None:
        """``group`` counts the configuration's label lists from 0."""
        self.page.locator(".lsf-labels").nth(group).locator(".lsf-label", has_text=label).click()

    def choose_tool(self, tool: str) -> None:
        """``tool`` is ``key-point-tool`` or ``rectangle-tool``."""
        self.page.locator("button.lsf-tool_smart").first.hover()
        self.page.locator(f".lsf-toolbar__smart button[aria-label={tool}]").click()

    def click(self, x: float, y: float, *, negative: bool = False) -> dict[str, Any]:
        """Click at fractions of the image's width and height; return what the backend's answer became."""
        box = self.image.bounding_box()
        assert box is not None
        with self.page.expect_response(lambda answer: "/interactive-annotating" in answer.url) as answer:
            if negative:
                self.page.keyboard.down("Alt")
            self.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if negative:
                self.page.keyboard.up("Alt")
        return dict(answer.value.json())

    def accept(self) -> None:
        self.page.locator(".lsf-auto-accept__action_type_accept").click()

    def submit(self, task: int) -> dict[str, Any]:
        """Submit; return the annotation as Label Studio stored it."""

        def is_annotation(answer: Response) -> bool:
            return answer.request.method == "POST" and f"/api/tasks/{task}/annotations" in answer.url

        with self.page.expect_response(is_annotation) as answer:
            self.page.get_by_test_id("bottombar-submit-button").click()
        return dict(answer.value.json())

    def regions(self) -> list[dict[str, Any]]:
        """What the editor would submit now."""
        return list(self.page.evaluate("() => Htx.annotationStore.selected.serializeAnnotation()"))

    def suggestions(self) -> int:
        """Masks shown that are neither accepted nor rejected yet."""
        return int(self.page.evaluate("() => Htx.annotationStore.selected.suggestions.size"))
