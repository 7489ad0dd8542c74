"""Images are fetched over real connections; every hop and every connection keeps to the policy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from maskloop.errors import ImageRefused, ImageUnavailable, ImageUnreadable
from maskloop.images import ImagePolicy
from maskloop.images.fetch import MAX_REDIRECTS, Fetched, Fetcher
from maskloop.images.sources import Remote

LEGACY = "0123456789abcdef0123456789abcdef01234567"
UPLOAD = "/data/upload/1/a.jpg"
RESOLVE = "/tasks/3/resolve/"
fetchers: list[Fetcher] = []


@pytest.fixture(autouse=True)
def close_fetchers() -> Iterator[None]:
    yield
    while fetchers:
        fetchers.pop().close()


def fetch(url: object, etag: str | None = None, **policy: Any) -> Fetched | None:
    fetchers.append(Fetcher(ImagePolicy(**policy)))
    return fetchers[-1].fetch(Remote(httpx.URL(str(url)), None), etag=etag)


def fetched(url: object, **policy: Any) -> bytes:
    got = fetch(url, **policy)
    assert got is not None
    return got.data


def test_an_allowed_host_is_asked_once_and_told_no_token(web: Any) -> None:
    web.gives("/a.jpg", b"bytes", Content_Type="image/jpeg; x=y", ETag='"1"')
    got = fetch(f"{web.url}/a.jpg?size=big", allowed_hosts=(web.host,), token=SecretStr(LEGACY))
    assert got == Fetched(b"bytes", "image/jpeg", '"1"')
    [(path, headers)] = web.seen
    assert path == "/a.jpg?size=big"
    assert "authorization" not in headers


def test_label_studio_gets_the_token(web: Any) -> None:
    web.gives(UPLOAD, b"bytes")
    assert fetched(f"{web.url}{UPLOAD}", label_studio=web.url, token=SecretStr(LEGACY)) == b"bytes"
    assert web.seen[0][1]["authorization"] == f"Token {LEGACY}"


def test_a_personal_access_token_is_exchanged_first(web: Any) -> None:
    web.gives("/api/token/refresh", json.dumps({"access": "x.y.z"}).encode())
    web.gives(UPLOAD, b"bytes")
    assert fetched(f"{web.url}{UPLOAD}", label_studio=web.url, token=SecretStr("a.b.c")) == b"bytes"
    assert [headers.get("authorization") for _, headers in web.seen] == [None, "Bearer x.y.z"]


def test_label_studios_other_paths_get_no_token(web: Any) -> None:
    web.gives("/static/a.jpg", b"bytes")
    fetch(f"{web.url}/static/a.jpg", label_studio=web.url, token=SecretStr(LEGACY))
    assert "authorization" not in web.seen[0][1]


def test_connections_are_kept(web: Any) -> None:
    web.gives("/a.jpg", b"bytes")
    fetcher = Fetcher(ImagePolicy(allowed_hosts=(web.host,)))
    fetchers.append(fetcher)
    for _ in range(5):
        fetcher.fetch(Remote(httpx.URL(f"{web.url}/a.jpg"), None))
    assert web.connections == 1


def test_an_image_that_is_still_the_same_is_not_sent_again(web: Any) -> None:
    def conditional(request: BaseHTTPRequestHandler) -> None:
        same = request.headers.get("If-None-Match") == '"1"'
        request.send_response(304 if same else 200)
        request.send_header("Content-Length", "0" if same else "5")
        request.end_headers()
        request.wfile.write(b"" if same else b"bytes")

    web.routes["/a.jpg"] = conditional
    assert fetch(f"{web.url}/a.jpg", etag='"1"', allowed_hosts=(web.host,)) is None
    assert fetch(f"{web.url}/a.jpg", etag='"0"', allowed_hosts=(web.host,)) is not None


class TestRedirects:
    def test_to_the_projects_storage_are_followed_without_the_token(self, web: Any, other_web: Any) -> None:
        web.redirects(RESOLVE, f"{other_web.url}/bucket/a.jpg?X-Amz-Signature=z")
        other_web.gives("/bucket/a.jpg", b"bytes")
        hosts = (other_web.host,)
        url = f"{web.url}{RESOLVE}?fileuri=eA=="
        assert fetched(url, label_studio=web.url, token=SecretStr(LEGACY), allowed_hosts=hosts) == b"bytes"
        assert web.seen[0][1]["authorization"] == f"Token {LEGACY}"
        [(path, headers)] = other_web.seen
        assert path == "/bucket/a.jpg?X-Amz-Signature=z"
        assert "authorization" not in headers

    def test_to_well_known_storage_are_followed_if_it_is_public(
        self, web: Any, names: dict[str, list[list[str]]]
    ) -> None:
        web.redirects(RESOLVE, "https://bucket.s3.amazonaws.com/a.jpg?X-Amz-Signature=z")
        names["bucket.s3.amazonaws.com"] = [["127.0.0.1"]]
        with pytest.raises(ImageRefused, match=r"127\.0\.0\.1"):
            fetch(f"{web.url}{RESOLVE}", label_studio=web.url, allow_private_addresses=True)

    @pytest.mark.parametrize("to", ["http://169.254.169.254/latest", "http://localhost:6379/", "file:///etc/passwd"])
    def test_to_what_is_not_allowed_are_refused(self, web: Any, to: str) -> None:
        for path in ("/a.jpg", UPLOAD, RESOLVE):
            web.redirects(path, to)
            with pytest.raises(ImageRefused):
                fetch(f"{web.url}{path}", label_studio=web.url, allowed_hosts=(web.host,))

    def test_to_an_inner_port_of_the_same_machine_are_refused(self, web: Any, other_web: Any) -> None:
        web.redirects("/a.jpg", f"{other_web.url}/secret")
        other_web.gives("/secret", b"secret")
        with pytest.raises(ImageRefused, match="redirects to"):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,))
        assert other_web.seen == []

    def test_to_well_known_storage_are_followed_from_label_studio_alone(self, web: Any, other_web: Any) -> None:
        web.redirects(RESOLVE, f"{other_web.url}/elsewhere")
        other_web.redirects("/elsewhere", "https://bucket.s3.amazonaws.com/a.jpg")
        with pytest.raises(ImageRefused, match="not an allowed host"):
            fetch(f"{web.url}{RESOLVE}", label_studio=web.url, allowed_hosts=(other_web.host,))

    def test_back_to_label_studio_carry_the_token_again(self, web: Any) -> None:
        web.redirects(RESOLVE, UPLOAD)
        web.gives(UPLOAD, b"bytes")
        assert fetched(f"{web.url}{RESOLVE}", label_studio=web.url, token=SecretStr(LEGACY)) == b"bytes"
        assert web.seen[1][1]["authorization"] == f"Token {LEGACY}"

    def test_from_elsewhere_into_label_studios_other_paths_carry_none(self, web: Any, other_web: Any) -> None:
        other_web.redirects("/a.jpg", f"{web.url}/api/users")
        web.gives("/api/users", b"[]")
        fetch(
            f"{other_web.url}/a.jpg",
            label_studio=web.url,
            token=SecretStr(LEGACY),
            allowed_hosts=(other_web.host,),
        )
        assert "authorization" not in web.seen[0][1]

    def test_in_a_circle_end(self, web: Any) -> None:
        web.redirects("/a.jpg", "/a.jpg")
        with pytest.raises(ImageUnavailable, match="redirects more than"):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,))
        assert len(web.seen) == MAX_REDIRECTS + 1


class TestAddresses:
    def test_of_an_allowed_name_are_checked_when_connecting(self, web: Any, names: dict[str, list[list[str]]]) -> None:
        web.gives("/a.jpg", b"secret")
        names["images.example.org"] = [["127.0.0.1"]]
        url = f"http://images.example.org:{web.port}/a.jpg"
        allowed = (f"images.example.org:{web.port}",)
        with pytest.raises(ImageRefused, match="MASKLOOP_ALLOW_PRIVATE_ADDRESSES"):
            fetch(url, allowed_hosts=allowed)
        assert web.seen == []
        assert fetched(url, allowed_hosts=allowed, allow_private_addresses=True) == b"secret"

    def test_a_name_that_changes_its_address_gains_nothing(self, web: Any, names: dict[str, list[list[str]]]) -> None:
        """The address that was checked is the one that is connected to: the name is looked up once."""
        names["rebinding.example.org"] = [["8.8.8.8"], ["127.0.0.1"]]
        url = f"http://rebinding.example.org:{web.port}/a.jpg"
        with pytest.raises(ImageUnavailable):
            fetch(url, allowed_hosts=(f"rebinding.example.org:{web.port}",), timeout=0.3)
        with pytest.raises(ImageRefused):
            fetch(url, allowed_hosts=(f"rebinding.example.org:{web.port}",))
        assert web.connections == 0

    def test_the_next_one_is_tried_if_one_fails(self, web: Any, names: dict[str, list[list[str]]]) -> None:
        web.gives("/a.jpg", b"bytes")
        names["localhost"] = [["127.0.0.2", "127.0.0.1"]]  # nothing listens on the first
        label_studio = httpx.URL(f"http://localhost:{web.port}")
        assert fetched(f"{label_studio}/a.jpg", label_studio=label_studio) == b"bytes"

    def test_an_unknown_name_is_said(self) -> None:
        with pytest.raises(ImageUnavailable, match=r"nowhere\.invalid"):
            fetch("http://nowhere.invalid/a.jpg", allowed_hosts=("nowhere.invalid",))

    def test_a_proxy_in_the_environment_is_not_used(
        self, web: Any, other_web: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", str(other_web.url))
        monkeypatch.setenv("ALL_PROXY", str(other_web.url))
        web.gives("/a.jpg", b"bytes")
        assert fetched(f"{web.url}/a.jpg", allowed_hosts=(web.host,)) == b"bytes"
        assert other_web.seen == []


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "token", "says"),
        [
            (401, None, "wants a token.*MASKLOOP_LABEL_STUDIO_API_KEY"),
            (401, LEGACY, "Legacy tokens may be switched off.*MASKLOOP_LABEL_STUDIO_API_KEY"),
            (403, LEGACY, "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED"),
            (404, LEGACY, "There is no image at"),
            (500, LEGACY, "deleted"),
            (502, LEGACY, "status 502"),
        ],
    )
    def test_of_label_studio_say_what_to_do(self, web: Any, status: int, token: str | None, says: str) -> None:
        web.gives(UPLOAD, b"", status)
        with pytest.raises(ImageUnavailable, match=says):
            fetch(f"{web.url}{UPLOAD}", label_studio=web.url, token=SecretStr(token) if token else None)

    def test_a_personal_token_that_is_refused_is_named(self, web: Any) -> None:
        web.gives("/api/token/refresh", b"{}", 401)
        with pytest.raises(ImageUnavailable, match="personal access token"):
            fetch(f"{web.url}{UPLOAD}", label_studio=web.url, token=SecretStr("a.b.c"))

    @pytest.mark.parametrize("status", [401, 403, 404, 500, 204, 206, 304])
    def test_of_other_hosts_are_unavailable(self, web: Any, status: int) -> None:
        web.gives("/a.jpg", b"", status)
        with pytest.raises(ImageUnavailable, match=str(status)):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,))

    def test_no_message_holds_a_signature(self, web: Any) -> None:
        with pytest.raises(ImageUnavailable) as caught:
            fetch(f"{web.url}/a.jpg?X-Amz-Signature=secret", allowed_hosts=(web.host,))
        assert "secret" not in str(caught.value)

    def test_nobody_listening_is_unavailable(self, web: Any) -> None:
        url = f"{web.url}/a.jpg"
        host = web.host
        web.close()
        with pytest.raises(ImageUnavailable, match="can't be fetched"):
            fetch(url, allowed_hosts=(host,))

    @pytest.mark.parametrize("host", ["a..example.org", ".example.org", f"{'a' * 64}.example.org"])
    def test_a_name_that_can_have_no_address_is_unavailable(self, host: str) -> None:
        with pytest.raises(ImageUnavailable, match="no address is known"):
            fetch(f"http://{host}/a.jpg", allowed_hosts=("*",))

    @pytest.mark.parametrize("drip", [b"", b"x"])
    @pytest.mark.parametrize("begun", [b"", b"Content-Length: 1000000\r\n\r\n"], ids=["headers", "body"])
    def test_a_host_that_takes_too_long_is_left(self, web: Any, begun: bytes, drip: bytes) -> None:
        """Silent, or sending a byte now and then: the time is for the whole answer."""
        done = threading.Event()

        def slowly(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(b"HTTP/1.1 200 OK\r\n" + begun)
            try:
                while not done.wait(0.02):
                    request.wfile.write(drip)
                    request.wfile.flush()
            except OSError:
                done.set()
            request.close_connection = True

        web.routes["/a.jpg"] = slowly
        try:
            with pytest.raises(ImageUnavailable, match="MASKLOOP_IMAGE_TIMEOUT"):
                fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,), timeout=0.3)
        finally:
            done.set()

    def test_a_connection_that_breaks_off_is_unavailable(self, web: Any) -> None:
        def cut(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", "100")
            request.end_headers()
            request.wfile.write(b"x")
            request.close_connection = True

        web.routes["/a.jpg"] = cut
        with pytest.raises(ImageUnavailable):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,))


class TestLimit:
    def test_an_image_of_just_the_limit_is_read(self, web: Any) -> None:
        web.gives("/a.jpg", b"12345")
        assert fetched(f"{web.url}/a.jpg", allowed_hosts=(web.host,), max_bytes=5) == b"12345"

    def test_a_larger_one_is_not_even_begun(self, web: Any) -> None:
        def promising(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(1 << 40))
            request.end_headers()
            request.close_connection = True

        web.routes["/a.jpg"] = promising
        with pytest.raises(ImageUnreadable, match="MASKLOOP_MAX_IMAGE_BYTES"):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,), max_bytes=5)

    def test_one_that_says_no_length_is_left_when_it_is_too_much(self, web: Any) -> None:
        left = threading.Event()

        def endless(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            try:
                while True:
                    request.wfile.write(b"\0" * 65536)
            except OSError:
                left.set()
            request.close_connection = True

        web.routes["/a.jpg"] = endless
        with pytest.raises(ImageUnreadable, match="MASKLOOP_MAX_IMAGE_BYTES"):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,), max_bytes=1 << 20)
        assert left.wait(10)

    def test_one_that_is_compressed_is_refused_for_it_may_grow(self, web: Any) -> None:
        web.gives("/a.jpg", b"anything", Content_Encoding="gzip")
        with pytest.raises(ImageUnavailable, match="gzip"):
            fetch(f"{web.url}/a.jpg", allowed_hosts=(web.host,))


def test_threads_share_one_fetcher(web: Any) -> None:
    for number in range(8):
        web.gives(f"/{number}", str(number).encode())
    fetcher = Fetcher(ImagePolicy(allowed_hosts=(web.host,)))
    fetchers.append(fetcher)
    got: dict[int, set[bytes]] = {number: set() for number in range(8)}

    def work(number: int) -> None:
        for _ in range(20):
            answer = fetcher.fetch(Remote(httpx.URL(f"{web.url}/{number}"), None))
            assert answer is not None
            got[number].add(answer.data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: {str(number).encode()} for number in range(8)}
