"""What may be read: which hosts, which folder, how much."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import httpx
from pydantic import SecretStr

from maskloop.credentials import origin, same_origin
from maskloop.errors import ImageRefused
from maskloop.images.addresses import is_inner, is_public
from maskloop.settings import Settings

UPLOAD_PATH = re.compile(r"/data/upload/.+|/storage-data/uploaded/?")
"""Where Label Studio serves uploaded files."""
LOCAL_FILES_PATH = re.compile(r"/data/local-files/?")
"""Where Label Studio serves its local-files storage; the file is named by the parameter ``d``."""
RESOLVE_PATH = re.compile(r"/(tasks|projects)/\d+/(resolve|presign)/?")
"""Where Label Studio serves a project's cloud storage or redirects to a signed address there."""
OBJECT_STORAGE = re.compile(
    r"(.+\.)?s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?"
    r"|(.+\.)?storage\.googleapis\.com|storage\.cloud\.google\.com"
    r"|[a-z0-9-]+\.blob\.core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)"
)
"""Hosts of S3, Google Cloud Storage and Azure Blob Storage."""
HOST_PATTERN = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:\d+)?|\[[0-9a-f:.]+\](:\d+)?")


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What a reference in task data may make this process read. Anyone who can create a task can write references.

    - Label Studio's own origin (scheme, host and port) is readable whatever its address. The token is sent there
      alone, and only to the paths that serve images.
    - ``allowed_hosts``: ``host``, ``*.host`` (its subdomains) or ``*``, each with ``:port`` or meaning the ports 80
      and 443. Their addresses must be public at the moment of connecting, unless ``allow_private_addresses``; an IP
      address that is listed itself is trusted. Link-local addresses (cloud metadata) never pass by a name.
    - Where Label Studio redirects from a storage path (``/tasks/N/resolve/``) to S3, Google Cloud Storage or Azure
      over https, the host need not be listed: Label Studio signed that address with the project's credentials. Its
      address must be public. Storage at other hosts (MinIO, R2, ...) must be listed.
    - ``local_files_root``: files below it, symlinks resolved, may be read as ``/data/local-files/?d=...``.
    """

    label_studio: httpx.URL | None = None
    token: SecretStr | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_private_addresses: bool = False
    local_files_root: Path | None = None
    max_bytes: int = 64 << 20
    max_pixels: int = 100_000_000
    timeout: float = 10.0

    def __post_init__(self) -> None:
        for pattern in self.allowed_hosts:
            if not HOST_PATTERN.fullmatch(pattern.lower()):
                raise ValueError(f"allowed_hosts takes names such as example.org, *.example.org:8000; not {pattern!r}")

    @classmethod
    def from_settings(cls, settings: Settings) -> ImagePolicy:
        return cls(
            label_studio=httpx.URL(str(settings.label_studio_url)) if settings.label_studio_url else None,
            token=settings.label_studio_api_key,
            allowed_hosts=settings.allowed_hosts,
            allow_private_addresses=settings.allow_private_addresses,
            local_files_root=settings.local_files_root,
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            timeout=settings.image_timeout,
        )

    def check_url(self, url: httpx.URL, *, redirected_from: httpx.URL | None = None) -> None:
        """Raises ImageRefused unless ``url`` may be asked for, to which ``redirected_from`` may have pointed."""
        if url.scheme not in ("http", "https"):
            raise ImageRefused(f"Images are not read from {url.scheme}: addresses.")
        if url.userinfo:
            raise ImageRefused("An image's address may not carry a user name or password; browsers refuse it too.")
        if self.is_label_studio(url) or self.allows_host(url):
            return
        if redirected_from is not None and self.presigns(redirected_from) and is_object_storage(url):
            return
        if redirected_from is not None and self.is_label_studio(redirected_from) and url.host == redirected_from.host:
            raise ImageRefused(
                f"Label Studio redirects to {url.scheme}://{url.netloc.decode('ascii')}.",
                "Set MASKLOOP_LABEL_STUDIO_URL to the address that it redirects to.",
            )
        to = "redirects to" if redirected_from is not None else "lies on"
        host = url.netloc.decode("ascii")
        raise ImageRefused(
            f"The image {to} {host}, which is not an allowed host.", f"Add {host} to MASKLOOP_ALLOWED_HOSTS."
        )

    def check_address(self, host: str, port: int, address: str) -> None:
        """Raises ImageRefused unless a connection for ``host``:``port`` may go to the IP ``address``."""
        if self.label_studio is not None and (host, port) == origin(self.label_studio)[1:]:
            return
        if is_public(address):
            return
        if any(pattern_matches(pattern, host, port) for pattern in self.allowed_hosts):
            if is_ip(host) or (self.allow_private_addresses and is_inner(address)):
                return
            if is_inner(address):
                raise ImageRefused(
                    f"{host} has an address of the inner network ({address}).",
                    "If images are meant to be read there, set MASKLOOP_ALLOW_PRIVATE_ADDRESSES=true.",
                )
        raise ImageRefused(f"{host} has the address {address}, at which no images are read.")

    def is_label_studio(self, url: httpx.URL) -> bool:
        return self.label_studio is not None and same_origin(url, self.label_studio)

    def authorizes(self, url: httpx.URL) -> bool:
        """Whether the token is sent to ``url``."""
        return self.is_label_studio(url) and any(
            self.serves(pattern, url) for pattern in (UPLOAD_PATH, LOCAL_FILES_PATH, RESOLVE_PATH)
        )

    def presigns(self, url: httpx.URL) -> bool:
        """Whether ``url`` is where Label Studio redirects to the project's cloud storage."""
        return self.is_label_studio(url) and self.serves(RESOLVE_PATH, url)

    def serves(self, pattern: re.Pattern[str], url: httpx.URL) -> bool:
        """Whether the path of ``url``, below the prefix that Label Studio may be served at, is one of ``pattern``."""
        prefix = self.label_studio.path.rstrip("/") if self.label_studio is not None else ""
        path = url.path.removeprefix(prefix) if url.path.startswith(f"{prefix}/") else url.path
        return pattern.fullmatch(path) is not None and ".." not in path.split("/")

    def allows_host(self, url: httpx.URL) -> bool:
        _, host, port = origin(url)
        return port is not None and any(pattern_matches(pattern, host, port) for pattern in self.allowed_hosts)


def pattern_matches(pattern: str, host: str, port: int) -> bool:
    """Whether an entry of ``allowed_hosts`` takes this host and port."""
    name, port_given = split_port(pattern.lower())
    if port not in ((80, 443) if port_given is None else (port_given,)):
        return False
    if name.startswith("*"):
        return not is_ip(host) and host.endswith(name[1:])
    return host == name


def split_port(pattern: str) -> tuple[str, int | None]:
    if pattern.startswith("["):
        name, _, port = pattern[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = pattern.partition(":")
    return name, int(port) if port else None


def is_object_storage(url: httpx.URL) -> bool:
    return origin(url)[::2] == ("https", 443) and OBJECT_STORAGE.fullmatch(origin(url)[1]) is not None


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
