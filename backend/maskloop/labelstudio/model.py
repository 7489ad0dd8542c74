"""``MaskloopModel``: the backend behind the hooks of label-studio-ml 2.x.

With label-studio-ml 2.x installed it is a subclass of its ``LabelStudioMLBase`` and runs on its server:

    from label_studio_ml.api import init_app
    from maskloop.labelstudio.model import MaskloopModel
    app = init_app(model_class=MaskloopModel)

The server makes a model for each request; what they share is the backend, given once with ``MaskloopModel.use``, or
made from the settings when it is first needed. The work is done by maskloop's workers, which have to run as well.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

from maskloop.labelstudio.connect import connect_backend, connect_courier
from maskloop.labelstudio.service import Backend
from maskloop.settings import Settings

Json = dict[str, Any]


class StandaloneBase:
    """Stands in for ``LabelStudioMLBase`` where that isn't installed: the same constructor, properties and hooks."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self.label_config = label_config or ""
        self._kept: dict[str, str] = {}
        self.setup()

    def setup(self) -> None:
        """Called once the project and its configuration are known."""

    def get(self, key: str) -> str | None:
        return self._kept.get(key)

    def set(self, key: str, value: str) -> None:
        self._kept[key] = value

    def has(self, key: str) -> bool:
        return key in self._kept

    @property
    def model_version(self) -> str | None:
        return self.get("model_version")

    @property
    def extra_params(self) -> Json:
        return dict(json.loads(self.get("extra_params") or "{}"))


def base_class() -> type[Any]:
    """``LabelStudioMLBase`` of label-studio-ml 2.x, else ours. 1.x has the same name and other hooks."""
    try:
        theirs: type[Any] = import_module("label_studio_ml.model").LabelStudioMLBase
    except ImportError:
        return StandaloneBase
    taken = inspect.signature(theirs).parameters
    return theirs if {"project_id", "label_config"} <= taken.keys() else StandaloneBase


Base: Any = base_class()


class MaskloopModel(Base):  # type: ignore[misc]
    """``MaskloopModel(project_id="1", label_config="<View>...")``; raises what :class:`Backend` raises."""

    _backend: ClassVar[Backend | None] = None
    _making: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def use(cls, backend: Backend | None) -> None:
        """The backend of all models from now on; None: the settings' own."""
        with cls._making:
            cls._backend = backend

    @classmethod
    def backend(cls) -> Backend:
        with cls._making:
            if cls._backend is None:
                settings = Settings()
                cls._backend = connect_backend(settings)
                if courier := connect_courier(settings):
                    threading.Thread(target=courier.run, args=[threading.Event()], name="courier", daemon=True).start()
            return cls._backend

    def setup(self) -> None:
        """Sets ``model_version`` to the one that the project's predictions carry."""
        project = int(self.project_id) if self.project_id.isdecimal() else None
        self.set("model_version", self.backend().version(project))

    def set_extra_params(self, extra_params: Json | str) -> None:
        """What Label Studio's ``/setup`` brings, an object or its JSON; label-studio-ml itself keeps only strings."""
        self.backend().setup({"project": self.project_id, "schema": self.label_config, "extra_params": extra_params})
        self.set("extra_params", extra_params if isinstance(extra_params, str) else json.dumps(extra_params))

    def predict(self, tasks: Sequence[Json], context: Json | None = None, **params: Any) -> list[Any]:
        """A prediction for each task; with ``context``, for the prompts in it."""
        body = {
            "tasks": list(tasks),
            "project": self.project_id,
            "label_config": self.label_config,
            "params": {**params, "context": context},
        }
        return list(self.backend().predict(body)["results"])

    def fit(self, event: str, data: Mapping[str, Any], **params: Any) -> Json:  # noqa: ARG002
        """Keeps a webhook's event; learning from it happens in the background."""
        return self.backend().fit(event, data)
