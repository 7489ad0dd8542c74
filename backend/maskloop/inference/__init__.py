"""From an image's reference to masks, with everything computed once."""

from maskloop.inference.opening import Shared, open_segmenter, open_shared
from maskloop.inference.segmenter import Segmenter

__all__ = ["Segmenter", "Shared", "open_segmenter", "open_shared"]
