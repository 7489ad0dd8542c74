"""The demo's photos: free ones that scikit-image ships, so nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

NAMES = ("coffee.png", "astronaut.png", "chelsea.png", "motorcycle_left.png", "rocket.jpg")


def photos() -> list[Path]:
    """450 to 741 pixels wide."""
    from skimage import data  # of an extra: needed only where the demo runs

    return [Path(data.__file__).parent / name for name in NAMES]
