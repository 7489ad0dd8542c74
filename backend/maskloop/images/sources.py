"""What a reference in task data names: a file on this disk, bytes in the reference itself, or an address to ask."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import httpx

from maskloop.errors import ImageRefused, ImageUnavailable
from maskloop.images.policy import LOCAL_FILES_PATH, RESOLVE_PATH, UPLOAD_PATH, ImagePolicy

CLOUD_SCHEMES = ("s3", "gs", "azure-blob")
"""Schemes of Label Studio's import storages that stand in task data as they are."""
SIGNATURE = re.compile(
    r"x-(amz|goog)-(algorithm|credential|date|expires|signedheaders|signature|security-token)"
    r"|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|s(v|s|rt|p|e|t|pr|ig|r|ip|koid|ktid|kt|ke|ks|kv)",
    re.IGNORECASE,
)
"""Query parameters of signed addresses (S3, GCS, CloudFront, Azure SAS): they change, the image doesn't."""
SIGNED = re.compile(r"[?&](x-amz-signature|x-goog-signature|signature|sig)=", re.IGNORECASE)
UNCHANGING = "unchanging"


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file of Label Studio's local-files storage on this machine. ``path`` is resolved, below the allowed root."""

    path: Path
    version: str

    @property
    def key(self) -> str:
        return f"file:{self.path}"

    def __str__(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True)
class InlineData:
    """A ``data:`` URI (RFC 2397)."""

    uri: str
    version: str = UNCHANGING

    @property
    def key(self) -> str:
        return f"data:{hashlib.sha256(self.uri.encode()).hexdigest()}"

    def __str__(self) -> str:
        return "a data: URI"


@dataclass(frozen=True, slots=True)
class Remote:
    """An address to ask by HTTP. ``version`` is None where only asking again tells whether the image is the same."""

    url: httpx.URL
    version: str | None

    @property
    def key(self) -> str:
        return str(unsigned(self.url))

    def __str__(self) -> str:
        return display(self.url)


Source = DiskFile | InlineData | Remote
"""``key`` names the image across tasks and signatures; ``version`` changes when its bytes do, as far as is known
without reading them. ``str()`` is fit to be shown and logged: it holds no signature."""


def task_reference(value: str, *, task: int | None = None, project: int | None = None) -> str:
    """The reference for ``value`` as it stands in a task's data.

    Label Studio sends cloud storage to a backend as it is stored (``s3://bucket/key``, ``gs://``, ``azure-blob://``);
    the bytes are had from Label Studio at ``/projects/P/resolve/?fileuri=<base64url>`` (or ``/tasks/T/...``), where it
    checks permissions and streams the file or redirects to a signed address. The project's address is preferred: it
    is the same for every task with that image. Any other value is returned as it is.
    """
    if not value.startswith(tuple(f"{scheme}://" for scheme in CLOUD_SCHEMES)):
        return value
    if project is None and task is None:
        raise ImageRefused(
            "An image in cloud storage can be read for a task or a project of Label Studio only.",
            "Send the task's id and project along.",
        )
    owner = f"projects/{project}" if project is not None else f"tasks/{task}"
    return f"/{owner}/resolve/?fileuri={base64.urlsafe_b64encode(value.encode()).decode()}"


def locate(reference: str, policy: ImagePolicy) -> Source:
    """Where ``reference`` leads under ``policy``; touches no network, and the disk only below the allowed root.

    Raises ImageRefused with the setting to change, or ImageUnavailable if there is no such file.
    """
    if reference.startswith("data:"):
        return InlineData(reference)
    url = _address(reference, policy)
    if policy.serves(LOCAL_FILES_PATH, url) and policy.local_files_root is not None and _is_ours(url, policy):
        return _disk_file(url, policy.local_files_root)
    policy.check_url(url)
    lasting = policy.is_label_studio(url) and policy.serves(UPLOAD_PATH, url)
    return Remote(url, UNCHANGING if lasting else None)


def _address(reference: str, policy: ImagePolicy) -> httpx.URL:
    """The absolute address of ``reference``; Label Studio's own paths are put on Label Studio's origin."""
    if not reference:
        raise ImageRefused("The task names no image: the value is empty.")
    if reference.startswith("/") and not reference.startswith("//"):
        return _label_studio_address(reference, policy)
    url = _parse(reference)
    if url.scheme in CLOUD_SCHEMES:
        raise ImageRefused(
            f"{url.scheme}:// addresses are read through Label Studio only, for a task or a project of its own."
        )
    if url.scheme not in ("http", "https") or not url.host:
        what = f"{url.scheme}: addresses" if url.scheme else "paths"
        raise ImageRefused(
            f"Images are not read from {what}.",
            "Upload the image to Label Studio, or serve it by a storage of the project or by http(s).",
        )
    if not policy.is_label_studio(url) and not policy.allows_host(url) and _served_by_label_studio(url, policy):
        # Label Studio writes the address by which browsers know it, which need not be the one that leads to it here.
        return _label_studio_address(url.raw_path.decode("ascii"), policy)
    return url


def _label_studio_address(path: str, policy: ImagePolicy) -> httpx.URL:
    if policy.label_studio is None:
        url = _parse(path)
        if policy.local_files_root is not None and policy.serves(LOCAL_FILES_PATH, url):
            return url
        raise ImageRefused(
            f"{_shorten(path.partition('?')[0])} is to be read from Label Studio, whose address isn't known.",
            "Set MASKLOOP_LABEL_STUDIO_URL and MASKLOOP_LABEL_STUDIO_API_KEY.",
        )
    base = str(policy.label_studio).rstrip("/")
    prefix = policy.label_studio.path.rstrip("/")
    url = _parse(base.removesuffix(prefix) + path if path.startswith(f"{prefix}/") else base + path)
    if not policy.authorizes(url):
        raise ImageRefused(
            f"{_shorten(path.partition('?')[0])} is not a path at which Label Studio serves images.",
            "Files of this machine are not read by their path: use an upload or Label Studio's local-files storage.",
        )
    return url


def _parse(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ImageRefused(f"The image's address can't be understood: {error}.") from error


def _served_by_label_studio(url: httpx.URL, policy: ImagePolicy) -> bool:
    known = policy.label_studio is not None or policy.local_files_root is not None
    return known and any(policy.serves(pattern, url) for pattern in (UPLOAD_PATH, LOCAL_FILES_PATH, RESOLVE_PATH))


def _is_ours(url: httpx.URL, policy: ImagePolicy) -> bool:
    return url.is_relative_url or policy.is_label_studio(url)


def _disk_file(url: httpx.URL, root: Path) -> DiskFile:
    name = parse_qs(url.query.decode("ascii", "replace")).get("d", [""])[0]
    inside = posixpath.normpath(name.replace("\\", "/")).lstrip("/")
    if "\0" in name or inside in ("", ".") or inside.split("/")[0] == "..":
        raise ImageRefused(f"{_shorten(name)!r} names no file inside the local-files folder.")
    try:
        base = root.resolve(strict=True)
        path = (base / inside).resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError) as error:
        raise ImageUnavailable(
            f"There is no file {_shorten(inside)} in the local-files folder.",
            "Is MASKLOOP_LOCAL_FILES_ROOT the folder that Label Studio has as LOCAL_FILES_DOCUMENT_ROOT?",
        ) from error
    if not path.is_relative_to(base):
        raise ImageRefused(f"{_shorten(inside)} is a link that leads out of the local-files folder.")
    return DiskFile(path, file_version(status.st_mtime_ns, status.st_size, status.st_ino))


def file_version(mtime_ns: int, size: int, inode: int) -> str:
    return f"{mtime_ns:x}-{size:x}-{inode:x}"


def unsigned(url: httpx.URL) -> httpx.URL:
    """``url`` without the parameters of its signature, if it has one, and without its fragment."""
    if not SIGNED.search(f"?{url.query.decode('ascii')}"):
        return url.copy_with(fragment=None)
    kept = httpx.QueryParams(
        [(name, value) for name, value in url.params.multi_items() if not SIGNATURE.fullmatch(name)]
    )
    return url.copy_with(params=kept, fragment=None)


def display(url: httpx.URL) -> str:
    """``url`` to be shown to people and logs: shortened, and of the query, where signatures are, only the names that
    Label Studio gives to files."""
    names = "&".join(f"{key}={url.params[key]}" for key in ("d", "fileuri") if key in url.params)
    return _shorten(f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}{'?' if names else ''}{names}")


def _shorten(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
