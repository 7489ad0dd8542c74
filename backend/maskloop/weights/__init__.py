"""The official weights: what they are, where they come from, and that they are what they should be."""

from maskloop.weights.fetch import Watcher, fetch
from maskloop.weights.manifest import Manifest, official
from maskloop.weights.verify import verified_path

__all__ = ["Manifest", "Watcher", "fetch", "official", "verified_path"]
