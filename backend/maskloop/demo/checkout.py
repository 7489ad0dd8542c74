"""Where the demo finds and keeps its things: below the checkout that it runs from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskloop.errors import MaskloopError


class DemoError(MaskloopError):
    """The demo can't be installed or started."""

    code = "demo"


@dataclass(frozen=True)
class Checkout:
    """The folders of one checkout. ``root`` holds ``label_config.xml`` and ``requirements/``."""

    root: Path

    @classmethod
    def of_this_code(cls) -> Checkout:
        """The checkout that this module was imported from.

        Raises DemoError if maskloop was installed as a package: the locked versions and the labeling
        configuration are not in it.
        """
        root = Path(__file__).parents[3]
        if not (root / "requirements" / "label-studio.lock").is_file():
            raise DemoError(
                "The demo runs from a checkout of maskloop, not from an installed package.",
                "Clone the repository and run `make demo` there.",
            )
        return cls(root)

    @property
    def label_config(self) -> Path:
        return self.root / "label_config.xml"

    @property
    def label_studio_lock(self) -> Path:
        return self.root / "requirements" / "label-studio.lock"

    @property
    def label_studio_environment(self) -> Path:
        return self.root / ".venv-label-studio"

    @property
    def demo_data(self) -> Path:
        """Kept from run to run: projects, annotations, logs."""
        return self.root / ".demo"

    @property
    def check_data(self) -> Path:
        """The same for ``--check``, which never touches what a person annotated."""
        return self.demo_data / "check"
