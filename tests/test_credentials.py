"""The token reaches Label Studio, in the form that Label Studio wants, and nobody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr

from maskloop.credentials import LabelStudioAuth, lifetime, origin, same_origin
from maskloop.errors import LabelStudioError

LEGACY = "0123456789abcdef0123456789abcdef01234567"
HOME = "http://label.example.org:8080"


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{part}.c2ln"


PERSONAL = jwt(token_type="refresh")


class Pixels(httpx.ByteStream):
    """A body that isn't read until it is asked for."""

    def __init__(self) -> None:
        super().__init__(b"pixels")


class LabelStudio:
    """Answers as Label Studio does: exchanges the personal token, and takes only the access token given last."""

    def __init__(self, seconds: float = 300) -> None:
        self.seconds = seconds
        self.issued = 0
        self.seen: list[tuple[str, str | None]] = []
        self.limits: list[object] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((str(request.url), request.headers.get("Authorization")))
        self.limits.append(request.extensions.get("timeout"))
        if request.url.path.endswith("/api/token/refresh"):
            if json.loads(request.content) != {"refresh": PERSONAL}:
                return httpx.Response(401, json={"detail": "Token is invalid or expired"})
            self.issued += 1
            return httpx.Response(200, json={"access": self.access})
        known = request.headers.get("Authorization") in (f"Bearer {self.access}", f"Token {LEGACY}")
        return httpx.Response(200 if known else 401, stream=Pixels())

    @property
    def access(self) -> str:
        return jwt(iat=1000, exp=1000 + self.seconds, jti=self.issued)

    def revoke(self) -> None:
        self.issued += 1


@pytest.fixture
def label_studio() -> LabelStudio:
    return LabelStudio()


@pytest.fixture
def client(label_studio: LabelStudio) -> Iterator[Callable[[str], httpx.Client]]:
    clients: list[httpx.Client] = []

    def with_token(token: str) -> httpx.Client:
        auth = LabelStudioAuth(HOME, SecretStr(token))
        clients.append(httpx.Client(transport=httpx.MockTransport(label_studio), auth=auth))
        return clients[-1]

    yield with_token
    for each in clients:
        each.close()


def test_a_legacy_token_is_sent_as_it_is(client: Callable[[str], httpx.Client], label_studio: LabelStudio) -> None:
    assert client(LEGACY).get(f"{HOME}/data/upload/1/a.jpg").status_code == 200
    assert label_studio.seen == [(f"{HOME}/data/upload/1/a.jpg", f"Token {LEGACY}")]


def test_a_personal_token_is_exchanged_once_for_many_requests(
    client: Callable[[str], httpx.Client], label_studio: LabelStudio
) -> None:
    one = client(PERSONAL)
    assert [one.get(f"{HOME}/data/upload/{n}.jpg").status_code for n in range(3)] == [200, 200, 200]
    assert [url.removeprefix(HOME) for url, _ in label_studio.seen] == [
        "/api/token/refresh",
        "/data/upload/0.jpg",
        "/data/upload/1.jpg",
        "/data/upload/2.jpg",
    ]


def test_an_access_token_refused_before_its_time_is_renewed(
    client: Callable[[str], httpx.Client], label_studio: LabelStudio
) -> None:
    one = client(PERSONAL)
    one.get(f"{HOME}/a")
    label_studio.revoke()
    assert one.get(f"{HOME}/b").status_code == 200


def test_an_access_token_about_to_end_is_renewed_before_it_is_sent(
    client: Callable[[str], httpx.Client], label_studio: LabelStudio
) -> None:
    label_studio.seconds = 1
    one = client(PERSONAL)
    one.get(f"{HOME}/a")
    one.get(f"{HOME}/b")
    assert label_studio.issued == 2


def test_the_exchange_may_take_no_longer_than_the_request(
    client: Callable[[str], httpx.Client], label_studio: LabelStudio
) -> None:
    client(PERSONAL).get(f"{HOME}/a", timeout=7)
    assert label_studio.limits == [httpx.Timeout(7).as_dict()] * 2


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://label.example.org:8080/data/upload/a.jpg",
        "http://label.example.org/data/upload/a.jpg",
        "http://label.example.org:8081/data/upload/a.jpg",
        "http://label.example.org.evil.com:8080/a.jpg",
        "http://evil.com/label.example.org:8080/a.jpg",
    ],
)
@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_no_other_scheme_host_or_port_ever_sees_a_token(
    client: Callable[[str], httpx.Client], label_studio: LabelStudio, token: str, elsewhere: str
) -> None:
    client(token).get(elsewhere)
    assert label_studio.seen == [(elsewhere, None)]


def test_a_refused_personal_token_says_what_to_do(client: Callable[[str], httpx.Client]) -> None:
    with pytest.raises(LabelStudioError, match="MASKLOOP_LABEL_STUDIO_API_KEY"):
        client("a.b.c").get(f"{HOME}/a")


def test_no_label_studio_at_that_address_is_said(label_studio: LabelStudio) -> None:
    auth = LabelStudioAuth(HOME, SecretStr(PERSONAL))
    page = httpx.MockTransport(lambda request: httpx.Response(200, text="<html>"))
    with httpx.Client(transport=page, auth=auth) as client, pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL"):
        client.get(f"{HOME}/a")


def test_the_answer_stays_unread_so_that_images_can_be_streamed(label_studio: LabelStudio) -> None:
    auth = LabelStudioAuth(HOME, SecretStr(PERSONAL))
    with (
        httpx.Client(transport=httpx.MockTransport(label_studio), auth=auth) as client,
        client.stream("GET", f"{HOME}/a") as response,
    ):
        assert not response.is_stream_consumed


def test_a_label_studio_below_a_path_is_asked_there(label_studio: LabelStudio) -> None:
    auth = LabelStudioAuth(f"{HOME}/label/", SecretStr(PERSONAL))
    with httpx.Client(transport=httpx.MockTransport(label_studio), auth=auth) as client:
        client.get(f"{HOME}/label/a")
    assert label_studio.seen[0][0] == f"{HOME}/label/api/token/refresh"


def test_the_schemes_own_port_need_not_be_written() -> None:
    assert same_origin(httpx.URL("https://a.org"), httpx.URL("https://A.ORG:443/x"))
    assert origin(httpx.URL("http://a.org")) == ("http", "a.org", 80)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", f"e30.{base64.urlsafe_b64encode(b'[]').decode()}.x"])
def test_a_token_that_says_no_lifetime_is_kept_a_minute(token: str) -> None:
    assert lifetime(token) == 60.0
