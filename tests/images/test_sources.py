"""A reference leads where Label Studio's editor would take it, and nowhere else."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.errors import ImageRefused, ImageUnavailable
from maskloop.images import ImagePolicy, Source, task_reference
from maskloop.images.sources import DiskFile, InlineData, Remote, locate, unsigned

HOME = "http://label.example.org:8080"


def at(reference: str, home: str | None = HOME, **policy: object) -> Source:
    return locate(reference, ImagePolicy(label_studio=httpx.URL(home) if home else None, **policy))  # type: ignore[arg-type]


def address(reference: str, home: str | None = HOME, **policy: object) -> str:
    source = at(reference, home, **policy)
    assert isinstance(source, Remote)
    return str(source.url)


@pytest.mark.parametrize(
    ("reference", "home", "asked"),
    [
        ("/data/upload/1/a.jpg", HOME, f"{HOME}/data/upload/1/a.jpg"),
        ("/data/upload/1/a.jpg", f"{HOME}/ls/", f"{HOME}/ls/data/upload/1/a.jpg"),
        ("/ls/data/upload/1/a.jpg", f"{HOME}/ls", f"{HOME}/ls/data/upload/1/a.jpg"),
        (f"{HOME}/data/upload/1/a.jpg", HOME, f"{HOME}/data/upload/1/a.jpg"),
        ("/data/local-files/?d=a%20b.jpg", HOME, f"{HOME}/data/local-files/?d=a%20b.jpg"),
        ("/tasks/3/resolve/?fileuri=czM6Ly8=", HOME, f"{HOME}/tasks/3/resolve/?fileuri=czM6Ly8="),
        # the address by which browsers know Label Studio
        ("http://localhost:8080/data/upload/1/a.jpg", HOME, f"{HOME}/data/upload/1/a.jpg"),
        ("https://label.example.com/data/local-files/?d=a.jpg", HOME, f"{HOME}/data/local-files/?d=a.jpg"),
    ],
)
def test_label_studios_own_paths(reference: str, home: str, asked: str) -> None:
    assert address(reference, home) == asked


def test_an_allowed_host_with_paths_like_label_studios_is_asked_itself() -> None:
    mine = "https://other.example.org/data/upload/1/a.jpg"
    assert address(mine, allowed_hosts=("other.example.org",)) == mine


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "/home/me/a.jpg",
        "C:\\images\\a.jpg",
        "a.jpg",
        "../a.jpg",
        "~/a.jpg",
        "",
        "//example.org/a.jpg",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "FILE:/etc/passwd",
        "/api/users",
        "/data/upload/../../api/users",
        "/data/upload/%2e%2e/%2e%2e/api/users",
        "ftp://example.org/a.jpg",
        "s3://bucket/a.jpg",
        "http://",
        "http://[::1",
        "http://example.org/a.jpg",
        "http://label.example.org/data/../etc",
        "http://label.example.org:8081/a.jpg",
        "http://label.example.org:8080@evil.com/a.jpg",
        "http://127.0.0.1:6379/",
        "http://2130706433/",
        "javascript:alert(1)",
        "\x00",
        "http://\ud800/",
    ],
)
def test_everything_else_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ImageRefused):
        at(reference)
    with pytest.raises(ImageRefused):
        at(reference, local_files_root=tmp_path)


def test_without_label_studio_its_paths_say_what_is_missing() -> None:
    with pytest.raises(ImageRefused, match="MASKLOOP_LABEL_STUDIO_URL"):
        at("/data/upload/1/a.jpg", home=None)


@given(st.text() | st.text(alphabet="/:.@?#%\\ adhtpsfile[]0123456789"))
def test_no_string_leads_anywhere_by_accident(reference: str) -> None:
    try:
        source = at(reference)
    except ImageRefused:
        return
    assert isinstance(source, InlineData) or httpx.URL(HOME).netloc == source.url.netloc  # type: ignore[union-attr]


class TestLocalFiles:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        (root / "sub").mkdir(parents=True)
        (root / "sub" / "a b+é.jpg").write_bytes(b"inside")
        (tmp_path / "secret.jpg").write_bytes(b"outside")
        (tmp_path / "root-2").mkdir()
        (tmp_path / "root-2" / "a.jpg").write_bytes(b"outside")
        return root

    @pytest.mark.parametrize("home", [HOME, None])
    @pytest.mark.parametrize(
        "reference",
        [
            "/data/local-files/?d=sub/a%20b%2B%C3%A9.jpg",
            "/data/local-files?d=sub/a%20b%2B%C3%A9.jpg",
            "/data/local-files/?d=/sub//a%20b%2B%C3%A9.jpg",
            "http://localhost:8080/data/local-files/?d=sub/a%20b%2B%C3%A9.jpg",
        ],
    )
    def test_are_read_from_disk_where_the_root_is_known(self, root: Path, reference: str, home: str | None) -> None:
        source = at(reference, home, local_files_root=root)
        assert isinstance(source, DiskFile)
        assert source.path == root / "sub" / "a b+é.jpg"

    @pytest.mark.parametrize(
        "name", ["../secret.jpg", "sub/../../secret.jpg", "../root-2/a.jpg", "..", ".", "", "..%2Fsecret.jpg", "a%00b"]
    )
    def test_outside_the_root_are_refused(self, root: Path, name: str) -> None:
        with pytest.raises(ImageRefused):
            at(f"/data/local-files/?d={name}", local_files_root=root)

    def test_named_absolutely_lie_below_the_root(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ImageUnavailable):
            at(f"/data/local-files/?d={tmp_path}/secret.jpg", local_files_root=root)

    @pytest.mark.parametrize("target", ["secret.jpg", "root-2/a.jpg", "root-2"])
    def test_a_link_out_of_the_root_is_refused(self, root: Path, tmp_path: Path, target: str) -> None:
        (root / "link").symlink_to(tmp_path / target)
        name = "link/a.jpg" if target == "root-2" else "link"
        with pytest.raises(ImageRefused, match="link"):
            at(f"/data/local-files/?d={name}", local_files_root=root)

    def test_a_link_inside_the_root_is_followed(self, root: Path) -> None:
        (root / "link.jpg").symlink_to(root / "sub" / "a b+é.jpg")
        assert isinstance(at("/data/local-files/?d=link.jpg", local_files_root=root), DiskFile)

    def test_a_root_that_is_a_link_is_followed(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "mount").symlink_to(root)
        source = at("/data/local-files/?d=sub/a%20b%2B%C3%A9.jpg", local_files_root=tmp_path / "mount")
        assert isinstance(source, DiskFile)

    def test_that_are_not_there_say_so(self, root: Path) -> None:
        (root / "loop").symlink_to(root / "loop")
        for name in ("nothing.jpg", "loop"):
            with pytest.raises(ImageUnavailable, match="MASKLOOP_LOCAL_FILES_ROOT"):
                at(f"/data/local-files/?d={name}", local_files_root=root)

    def test_a_changed_file_has_another_version(self, root: Path) -> None:
        reference = "/data/local-files/?d=sub/a%20b%2B%C3%A9.jpg"
        before = at(reference, local_files_root=root)
        os.utime(root / "sub" / "a b+é.jpg", ns=(1, 1))
        after = at(reference, local_files_root=root)
        assert before.key == after.key
        assert before.version != after.version


class TestCloudStorage:
    @pytest.mark.parametrize("uri", ["s3://bucket/a b.jpg", "gs://bucket/é.png", "azure-blob://box/a.jpg"])
    def test_is_asked_for_through_label_studio(self, uri: str) -> None:
        reference = task_reference(uri, task=3, project=7)
        assert reference.startswith("/projects/7/resolve/?fileuri=")
        assert base64.urlsafe_b64decode(reference.partition("=")[2]).decode() == uri
        assert address(reference).startswith(HOME)

    def test_of_a_task_without_a_project_goes_by_the_task(self) -> None:
        assert task_reference("s3://bucket/a.jpg", task=3).startswith("/tasks/3/resolve/")

    def test_of_nobody_is_refused(self) -> None:
        with pytest.raises(ImageRefused, match="task"):
            task_reference("s3://bucket/a.jpg")

    @pytest.mark.parametrize("value", ["/data/upload/1/a.jpg", "https://example.org/a.jpg", "data:,x", "s3.jpg", ""])
    def test_other_values_stay_as_they_are(self, value: str) -> None:
        assert task_reference(value, task=3, project=7) == value


class TestKey:
    @pytest.mark.parametrize(
        "signed",
        [
            "https://b.s3.amazonaws.com/k.jpg?X-Amz-Algorithm=A&X-Amz-Date=1&X-Amz-Signature=z&X-Amz-Credential=c%2Fd",
            "https://storage.googleapis.com/b/k.jpg?X-Goog-Signature=z&X-Goog-Expires=60",
            "https://b.s3.amazonaws.com/k.jpg?AWSAccessKeyId=A&Signature=z&Expires=1",
            "https://a.blob.core.windows.net/c/k.jpg?sv=1&se=2&sr=b&sp=r&sig=z",
            "https://d1.cloudfront.net/k.jpg?Expires=1&Signature=z&Key-Pair-Id=K",
        ],
    )
    def test_of_a_signed_address_leaves_the_signature_out(self, signed: str) -> None:
        assert str(unsigned(httpx.URL(signed))) == signed.partition("?")[0]

    def test_keeps_the_rest_of_a_signed_address(self) -> None:
        url = httpx.URL("https://b.s3.amazonaws.com/k.jpg?versionId=4&X-Amz-Signature=z#part")
        assert str(unsigned(url)) == "https://b.s3.amazonaws.com/k.jpg?versionId=4"

    @pytest.mark.parametrize("query", ["?id=7", "?se=7&sv=2", "?policy=wide", "?expires=3", "?a=%2F+b", ""])
    def test_keeps_the_query_of_an_address_that_is_not_signed(self, query: str) -> None:
        url = httpx.URL(f"https://example.org/image{query}")
        assert unsigned(url) == url

    def test_of_different_images_differ(self) -> None:
        references = ["data:,a", "data:,b", "/data/upload/1/a.jpg", "/data/local-files/?d=a", "/data/local-files/?d=b"]
        assert len({at(reference).key for reference in references}) == len(references)


def test_only_uploads_and_data_uris_are_taken_never_to_change() -> None:
    assert at("/data/upload/1/a.jpg").version is not None
    assert at("data:,x").version is not None
    assert at("/tasks/3/resolve/?fileuri=eA==").version is None
    assert at("/data/local-files/?d=a.jpg").version is None
    assert at("https://example.org/a.jpg", allowed_hosts=("example.org",)).version is None
    assert at("https://example.org/data/upload/1/a.jpg", allowed_hosts=("example.org",)).version is None


def test_what_is_shown_of_a_source_holds_no_signature() -> None:
    reference = "https://example.org/a.jpg?X-Amz-Signature=secret&token=secret"
    assert "secret" not in str(at(reference, allowed_hosts=("example.org",)))
    assert len(str(at(f"https://example.org/{'a' * 5000}.jpg", allowed_hosts=("example.org",)))) < 200
