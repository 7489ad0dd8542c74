"""What may be read is said by the settings, and nothing else is."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from maskloop.errors import ImageRefused
from maskloop.images import ImagePolicy
from maskloop.images.policy import pattern_matches
from maskloop.settings import Settings

HOME = httpx.URL("https://label.example.org/ls")


def policy(*hosts: str, private: bool = False) -> ImagePolicy:
    return ImagePolicy(label_studio=HOME, allowed_hosts=hosts, allow_private_addresses=private)


@pytest.mark.parametrize(
    ("pattern", "host", "port", "matches"),
    [
        ("example.org", "example.org", 443, True),
        ("Example.ORG", "example.org", 80, True),
        ("example.org", "example.org", 8000, False),
        ("example.org:8000", "example.org", 8000, True),
        ("example.org:8000", "example.org", 80, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "notexample.org", 443, False),
        ("*.example.org", "www.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("*", "anything.at", 443, True),
        ("*", "10.0.0.1", 80, False),
        ("*", "anything.at", 22, False),
        ("10.0.0.5:9000", "10.0.0.5", 9000, True),
        ("[::1]:9000", "::1", 9000, True),
    ],
)
def test_a_host_is_allowed_by_name_and_port(pattern: str, host: str, port: int, matches: bool) -> None:
    assert pattern_matches(pattern, host, port) is matches


@pytest.mark.parametrize("wrong", ["https://example.org", "example.org/images", "", "exa mple.org", "a.org,b.org"])
def test_what_is_no_host_is_not_taken_for_one(wrong: str) -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        policy(wrong)


def test_a_refusal_says_which_setting_to_change() -> None:
    with pytest.raises(ImageRefused, match=r"Add photos\.example\.com:8000 to MASKLOOP_ALLOWED_HOSTS"):
        policy().check_url(httpx.URL("http://photos.example.com:8000/a.jpg"))


@pytest.mark.parametrize("url", ["ftp://example.org/a", "file:///etc/passwd", "gopher://example.org", "unix:/run/x"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(ImageRefused):
        policy("*").check_url(httpx.URL(url))


def test_passwords_in_addresses_are_refused() -> None:
    with pytest.raises(ImageRefused, match="password"):
        policy("example.org").check_url(httpx.URL("https://me:secret@example.org/a.jpg"))


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/ls/data/upload/1/a.jpg", True),
        ("/data/upload/1/a.jpg", True),
        ("/ls/data/local-files/", True),
        ("/ls/tasks/1/resolve/", True),
        ("/ls/tasks/1/presign/", True),
        ("/ls/projects/1/resolve/", True),
        ("/ls/storage-data/uploaded/", True),
        ("/ls/api/users", False),
        ("/ls/data/upload/%2e%2e/%2e%2e/api/users", False),
        ("/ls/user/logout", False),
        ("/other/data/upload/1/a.jpg", False),
    ],
)
def test_the_token_goes_to_the_paths_of_images_only(path: str, sent: bool) -> None:
    assert policy().authorizes(httpx.URL(f"https://label.example.org{path}")) is sent
    assert not policy().authorizes(httpx.URL(f"http://label.example.org{path}"))


STORAGE = [
    "https://bucket.s3.amazonaws.com/a.jpg",
    "https://s3.eu-central-1.amazonaws.com/bucket/a.jpg",
    "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a.jpg",
    "https://my.dotted.bucket.s3-us-west-2.amazonaws.com/a.jpg",
    "https://storage.googleapis.com/bucket/a.jpg",
    "https://bucket.storage.googleapis.com/a.jpg",
    "https://account.blob.core.windows.net/container/a.jpg",
]
NO_STORAGE = [
    "http://bucket.s3.amazonaws.com/a.jpg",
    "https://bucket.s3.amazonaws.com:8443/a.jpg",
    "https://ec2-1-2-3-4.compute.amazonaws.com/a.jpg",
    "https://s3.amazonaws.com.evil.com/a.jpg",
    "https://evils3.amazonaws.com/a.jpg",
    "https://evil.com/s3.amazonaws.com",
    "https://blob.core.windows.net.evil.com/a",
    "https://minio.example.org/a.jpg",
    "http://169.254.169.254/latest/meta-data",
]


@pytest.mark.parametrize("storage", STORAGE)
def test_label_studio_may_redirect_to_the_projects_cloud_storage(storage: str) -> None:
    policy().check_url(httpx.URL(storage), redirected_from=HOME.join("/ls/tasks/7/resolve/?fileuri=eA=="))


@pytest.mark.parametrize("elsewhere", NO_STORAGE)
def test_and_nowhere_else(elsewhere: str) -> None:
    with pytest.raises(ImageRefused):
        policy().check_url(httpx.URL(elsewhere), redirected_from=HOME.join("/ls/tasks/7/resolve/?fileuri=eA=="))


@pytest.mark.parametrize(
    "start", ["https://label.example.org/ls/data/upload/x", "https://images.example.org/tasks/7/resolve/"]
)
def test_no_other_address_may_redirect_there(start: str) -> None:
    with pytest.raises(ImageRefused, match="redirects to"):
        policy("images.example.org").check_url(httpx.URL(STORAGE[0]), redirected_from=httpx.URL(start))


@pytest.mark.parametrize("storage", STORAGE)
def test_task_data_may_not_name_cloud_storage_that_is_not_allowed(storage: str) -> None:
    with pytest.raises(ImageRefused):
        policy().check_url(httpx.URL(storage))


def test_a_label_studio_that_moved_to_https_is_named() -> None:
    moved = ImagePolicy(label_studio=httpx.URL("http://label.example.org"))
    with pytest.raises(ImageRefused, match="MASKLOOP_LABEL_STUDIO_URL"):
        moved.check_url(
            httpx.URL("https://label.example.org/data/upload/a.jpg"),
            redirected_from=httpx.URL("http://label.example.org/data/upload/a.jpg"),
        )


def test_label_studio_may_have_any_address() -> None:
    policy().check_address("label.example.org", 443, "10.0.0.3")
    with pytest.raises(ImageRefused):
        policy().check_address("label.example.org", 6379, "10.0.0.3")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_an_allowed_name_must_have_a_public_address(address: str) -> None:
    policy("example.org").check_address("example.org", 443, "93.184.216.34")
    with pytest.raises(ImageRefused):
        policy("example.org").check_address("example.org", 443, address)


def test_unless_the_settings_say_that_inner_addresses_are_meant() -> None:
    policy("minio.lan:9000", private=True).check_address("minio.lan", 9000, "192.168.1.5")
    with pytest.raises(ImageRefused):
        policy("minio.lan:9000", private=True).check_address("minio.lan", 9000, "169.254.169.254")
    with pytest.raises(ImageRefused, match="ALLOW_PRIVATE_ADDRESSES"):
        policy("minio.lan:9000").check_address("minio.lan", 9000, "192.168.1.5")


def test_cloud_storage_that_is_not_listed_must_be_public_even_then() -> None:
    with pytest.raises(ImageRefused):
        policy("minio.lan", private=True).check_address("bucket.s3.amazonaws.com", 443, "10.0.0.1")


def test_an_address_that_is_listed_itself_is_trusted() -> None:
    policy("10.0.0.5:9000").check_address("10.0.0.5", 9000, "10.0.0.5")


def test_it_is_made_from_the_settings() -> None:
    settings = Settings(
        label_studio_url="http://localhost:8080",  # type: ignore[arg-type]
        label_studio_api_key=SecretStr("secret"),
        allowed_hosts=("example.org",),
        max_image_bytes=7,
        max_image_pixels=8,
        image_timeout=9,
    )
    made = ImagePolicy.from_settings(settings)
    assert made.is_label_studio(httpx.URL("http://localhost:8080/data"))
    assert (made.allowed_hosts, made.max_bytes, made.max_pixels, made.timeout) == (("example.org",), 7, 8, 9)
    assert "secret" not in repr(made)


def test_hosts_in_the_environment_have_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_ALLOWED_HOSTS", "example.org, *.example.com:8000")
    assert ImagePolicy.from_settings(Settings()).allowed_hosts == ("example.org", "*.example.com:8000")
