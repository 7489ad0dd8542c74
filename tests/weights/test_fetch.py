"""Weights arrive whole and right, or not at all; what went wrong and what to do is said."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskloop.errors import StorageError, WeightsError
from maskloop.weights import Manifest, fetch, official
from maskloop.weights import sources as sources_module
from maskloop.weights.fetch import Unwatched, store
from maskloop.weights.manifest import PackageSource, Source, UrlSource

CONTENT = bytes(range(256)) * 4096


def manifest(*sources: Source) -> Manifest:
    return Manifest(
        name="Test", file="test.pt", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), licence="-",
        sources=sources,
    )  # fmt: skip


class Server(BaseHTTPRequestHandler):
    """/right, /wrong, /long and /short answer so; /silent doesn't."""

    def do_GET(self) -> None:
        if self.path == "/silent":
            self.server.silence.wait(30)  # type: ignore[attr-defined]
            return
        bodies = {"/right": CONTENT, "/short": CONTENT[:-5], "/wrong": CONTENT[::-1], "/long": CONTENT + b"more"}
        body = bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"") if self.path != "/short" else len(CONTENT)))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.silence = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.silence.set()  # type: ignore[attr-defined]
        server.shutdown()


def from_url(url: str) -> UrlSource:
    return UrlSource.model_construct(kind="url", url=url)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageSource:
    """A source archive in a folder that pip is set up to look into, with a build backend of its own."""
    backend = (
        "from pathlib import Path\n"
        "def prepare_metadata_for_build_wheel(folder, settings=None):\n"
        "    info = Path(folder, 'carrier-1.0.dist-info'); info.mkdir()\n"
        "    info.joinpath('METADATA').write_text('Metadata-Version: 2.1\\nName: carrier\\nVersion: 1.0\\n')\n"
        "    return info.name\n"
    )
    members = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend.encode(),
        "models/test.pt": CONTENT,
    }
    index = tmp_path / "index"
    index.mkdir()
    with tarfile.open(index / "carrier-1.0.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"carrier-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    sha256 = hashlib.sha256((index / "carrier-1.0.tar.gz").read_bytes()).hexdigest()
    return PackageSource(kind="package", package="carrier", version="1.0", sha256=sha256, member="models/test.pt")


def nothing_but(folder: Path, *names: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(names)


def test_fetches_from_a_url(url: str, tmp_path: Path) -> None:
    path = fetch(tmp_path / "new" / "folder", manifest=manifest(from_url(f"{url}/right")))
    assert path.read_bytes() == CONTENT
    assert nothing_but(path.parent, "test.pt")


def test_fetches_from_a_package(package: PackageSource, tmp_path: Path) -> None:
    assert fetch(tmp_path / "weights", manifest=manifest(package)).read_bytes() == CONTENT


def test_a_package_of_another_hash_is_never_opened(package: PackageSource, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"carrier 1\.0"):
        fetch(tmp_path / "weights", manifest=manifest(package.model_copy(update={"sha256": "0" * 64})))


def test_a_package_without_the_file_says_so(package: PackageSource, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no models/other\.pt"):
        fetch(tmp_path / "weights", manifest=manifest(package.model_copy(update={"member": "models/other.pt"})))


@pytest.mark.parametrize("path", ["wrong", "long", "short", "missing"])
def test_bytes_that_are_not_the_file_are_dropped_and_the_next_source_is_tried(
    url: str, tmp_path: Path, path: str
) -> None:
    with pytest.raises(WeightsError):
        fetch(tmp_path, manifest=manifest(from_url(f"{url}/{path}")))
    assert nothing_but(tmp_path)
    fetch(tmp_path, manifest=manifest(from_url(f"{url}/{path}"), from_url(f"{url}/right")))
    assert nothing_but(tmp_path, "test.pt")


def test_a_source_that_keeps_silent_is_given_up(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "SILENCE", 0.2)
    fetch(tmp_path, manifest=manifest(from_url(f"{url}/silent"), from_url(f"{url}/right")))


def test_with_no_source_in_reach_every_reason_and_the_place_for_the_file_are_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        fetch(tmp_path, manifest=manifest(from_url(f"{url}/missing"), from_url("http://127.0.0.1:1/")))
    assert all(part in str(error.value) for part in (f"{url}/missing", "404", "refused", str(tmp_path / "test.pt")))


def test_a_right_file_is_left_alone_and_a_wrong_one_replaced(url: str, tmp_path: Path) -> None:
    (tmp_path / "test.pt").write_bytes(CONTENT)
    fetch(tmp_path, manifest=manifest())
    (tmp_path / "test.pt").write_bytes(CONTENT[:-1])
    fetch(tmp_path, manifest=manifest(from_url(f"{url}/right")))
    assert (tmp_path / "test.pt").read_bytes() == CONTENT


def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(interrupted(), tmp_path, manifest(), Unwatched())
    assert nothing_but(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/weights"):
        fetch(tmp_path / "file" / "weights", manifest=manifest(from_url(f"{url}/right")))


def test_the_official_manifest_names_upstream_first_and_pins_every_source() -> None:
    first, second = official().sources
    assert isinstance(first, UrlSource)
    assert "/raw/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/" in first.url
    assert isinstance(second, PackageSource)
    assert (official().file, official().licence) == ("mobile_sam.pt", "Apache-2.0")
