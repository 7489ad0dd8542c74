"""maskloop: SAM masks in Label Studio, with the human in the loop."""

from importlib.metadata import version

__version__ = version("maskloop")
