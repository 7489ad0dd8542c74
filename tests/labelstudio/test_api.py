"""Calls to Label Studio: what is repeated, and what a refusal says. The end-to-end tests talk to a real one."""

import httpx
import pytest
from pydantic import SecretStr

from maskloop.errors import LabelStudioError
from maskloop.labelstudio.api import LabelStudioApi

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def api(answer: httpx.MockTransport) -> LabelStudioApi:
    return LabelStudioApi("http://label.example/", SecretStr(TOKEN), transport=answer)


def test_tasks_come_from_as_many_pages_as_there_are() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        return httpx.Response(200, json={"total": 3, "tasks": [{"id": 1}, {"id": 2}] if page == 1 else [{"id": 3}]})

    assert [task["id"] for task in api(httpx.MockTransport(answer)).tasks(7)] == [1, 2, 3]


def test_reading_is_tried_again_when_the_connection_breaks() -> None:
    tries = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(request.url.path)
        if len(tries) < 3:
            raise httpx.ReadError("reset")
        return httpx.Response(200, json={"id": 7})

    assert api(httpx.MockTransport(answer)).project(7) == {"id": 7}
    assert len(tries) == 3


def test_writing_is_not_repeated_once_it_may_have_arrived() -> None:
    tries = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(request.url.path)
        raise httpx.ReadTimeout("slow")

    with pytest.raises(LabelStudioError, match=r"can't be reached.*MASKLOOP_LABEL_STUDIO_URL"):
        api(httpx.MockTransport(answer)).create_prediction(7, 1, {})
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("status", "says"), [(401, "personal access token"), (403, "member"), (404, "or it is gone"), (500, "answers 500")]
)
def test_a_refusal_says_what_to_do_and_never_the_token(status: int, says: str) -> None:
    refuse = httpx.MockTransport(lambda _: httpx.Response(status, json={"detail": "no"}))
    with pytest.raises(LabelStudioError, match=says) as refusal:
        api(refuse).project(7)
    assert TOKEN not in str(refusal.value)


def test_a_page_in_place_of_json_is_no_label_studio() -> None:
    with pytest.raises(LabelStudioError, match="something else than JSON"):
        api(httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))).project(7)
