"""Whether a file is the one that the manifest names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from maskloop.errors import WeightsError
from maskloop.weights.manifest import Manifest, official


def verified_path(weights_dir: Path, manifest: Manifest | None = None) -> Path:
    """The weights file in ``weights_dir``, its size and sha256 checked just now (about 30 ms).

    Raises WeightsError if it is missing or differs in a byte.
    """
    manifest = manifest or official()
    path = weights_dir / manifest.file
    hint = "Run `maskloop weights fetch`."
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size != manifest.size:
                raise WeightsError(f"{path} has {size:,} bytes in place of {manifest.size:,}.", hint)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"No weights at {path} ({error.strerror}).", hint) from error
    if digest != manifest.sha256:
        raise WeightsError(f"{path} has sha256 {digest} in place of {manifest.sha256}.", hint)
    return path
