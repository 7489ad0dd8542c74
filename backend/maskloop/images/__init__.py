"""From the string in a task's data to pixels, within a policy of what may be read."""

from maskloop.images.loader import ImageLoader, Loaded
from maskloop.images.policy import ImagePolicy
from maskloop.images.sources import Source, task_reference

__all__ = ["ImageLoader", "ImagePolicy", "Loaded", "Source", "task_reference"]
