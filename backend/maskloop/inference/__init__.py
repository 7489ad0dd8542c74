"""From an image's reference to masks, with everything computed once."""

from maskloop.inference.opening import open_segmenter
from maskloop.inference.segmenter import Segmenter

__all__ = ["Segmenter", "open_segmenter"]
