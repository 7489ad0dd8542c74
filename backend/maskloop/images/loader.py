"""From a reference to pixels."""

from __future__ import annotations

from dataclasses import dataclass

from maskloop.images.decode import decode
from maskloop.images.disk import read_file
from maskloop.images.fetch import Fetcher
from maskloop.images.inline import read_data_uri
from maskloop.images.policy import ImagePolicy
from maskloop.images.sources import DiskFile, InlineData, Remote, Source, locate
from maskloop.sam.values import Image


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An image, and how to learn later whether it is still the same: see :class:`~maskloop.images.Source`."""

    image: Image
    version: str | None
    etag: str | None = None


class ImageLoader:
    """Reads the images that ``policy`` allows. Usable by several threads at once; ``close`` ends its connections."""

    def __init__(self, policy: ImagePolicy) -> None:
        self.policy = policy
        self._fetcher = Fetcher(policy)

    def close(self) -> None:
        self._fetcher.close()

    def load(self, reference: str) -> Image:
        """The image that ``reference`` names: uint8 RGB (height, width, 3), upright.

        reference: as it stands in a task's data, after :func:`~maskloop.images.task_reference`: a path of Label
        Studio's (``/data/upload/...``, ``/data/local-files/?d=...``, ``/tasks/N/resolve/?fileuri=...``), an http(s)
        address or a ``data:`` URI.

        Raises ImageRefused if the policy doesn't allow it, ImageUnavailable if it can't be had, ImageUnreadable if it
        is no image or over the limits.
        """
        return self.read(self.locate(reference)).image

    def locate(self, reference: str) -> Source:
        """What ``reference`` names, checked against the policy, without reading it. Raises as ``load`` does."""
        return locate(reference, self.policy)

    def read(self, source: Source) -> Loaded:
        """The image at ``source``. Raises as ``load`` does."""
        match source:
            case Remote():
                loaded = self.read_if_changed(source, etag=None)
                assert loaded is not None
                return loaded
            case DiskFile():
                data, version = read_file(source, self.policy.max_bytes)
            case InlineData():
                data, version = read_data_uri(source.uri, self.policy.max_bytes), source.version
        return Loaded(self._decode(data, source), version)

    def read_if_changed(self, source: Remote, *, etag: str | None) -> Loaded | None:
        """The image at ``source``, or None if its host says that it is still the one with ``etag``."""
        fetched = self._fetcher.fetch(source, etag=etag)
        if fetched is None:
            return None
        return Loaded(self._decode(fetched.data, source, fetched.content_type), source.version, fetched.etag)

    def _decode(self, data: bytes, source: Source, content_type: str = "") -> Image:
        name = f"{source} ({content_type})" if content_type and not content_type.startswith("image/") else str(source)
        return decode(data, max_pixels=self.policy.max_pixels, name=name)
