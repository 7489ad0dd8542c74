"""The model class, by itself and on label-studio-ml where that is installed."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from labelstudio.discs import EVERYTHING, task
from maskloop.labelstudio import model
from maskloop.labelstudio.model import MaskloopModel, StandaloneBase, base_class


class Recorder:
    """A backend that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def version(self, project: int | None) -> str:
        assert project in (7, None)
        return "model-1"

    def setup(self, body: Any) -> dict[str, Any]:
        self.asked.append(("setup", body))
        return {"model_version": "model-1"}

    def predict(self, body: Any) -> dict[str, Any]:
        self.asked.append(("predict", body))
        return {"results": [{"result": [], "score": 0.0, "model_version": "model-1"} for _ in body["tasks"]]}

    def fit(self, event: str, data: Any) -> dict[str, Any]:
        self.asked.append((event, data))
        return {}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    MaskloopModel.use(recorder)  # type: ignore[arg-type]
    yield recorder
    MaskloopModel.use(None)


def test_it_is_made_as_the_official_server_makes_it_and_knows_its_version(recorder: Recorder) -> None:
    made = MaskloopModel(project_id="7", label_config=EVERYTHING)
    assert made.get("model_version") == "model-1"
    assert str(made.model_version) == "model-1"
    assert isinstance(MaskloopModel(), MaskloopModel)


def test_predict_takes_what_the_official_server_passes(recorder: Recorder) -> None:
    made = MaskloopModel(project_id="7", label_config=EVERYTHING)
    results = made.predict([task(1), task(2)], context=None, login=None, password=None)
    assert [result["model_version"] for result in results] == ["model-1", "model-1"]
    ((_, body),) = recorder.asked
    assert (body["project"], body["label_config"]) == ("7", EVERYTHING)
    assert body["params"]["context"] is None
    assert [one["id"] for one in body["tasks"]] == [1, 2]


def test_the_context_goes_along(recorder: Recorder) -> None:
    context = {"result": [{"id": "a"}]}
    MaskloopModel("7", EVERYTHING).predict([task(1)], context=context)
    assert recorder.asked[0][1]["params"]["context"] == context


def test_fit_keeps_the_event(recorder: Recorder) -> None:
    assert MaskloopModel("7", EVERYTHING).fit("ANNOTATION_CREATED", {"project": {"id": 7}}, job_id="x") == {}
    assert recorder.asked == [("ANNOTATION_CREATED", {"project": {"id": 7}})]


def test_extra_params_may_be_an_object(recorder: Recorder) -> None:
    made = MaskloopModel("7", EVERYTHING)
    made.set_extra_params({"max_regions": 3})
    assert made.extra_params == {"max_regions": 3}
    assert recorder.asked[0][1]["extra_params"] == {"max_regions": 3}
    made.set_extra_params('{"max_regions": 4}')
    assert made.extra_params == {"max_regions": 4}


def installed(monkeypatch: pytest.MonkeyPatch, base: type) -> None:
    package, module = types.ModuleType("label_studio_ml"), types.ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)


def test_the_official_base_is_used_if_its_constructor_is_that_of_2x(monkeypatch: pytest.MonkeyPatch) -> None:
    class Of2x:
        def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None: ...

    class Of1x:
        def __init__(self, label_config: str | None = None, train_output: Any = None, **kwargs: Any) -> None: ...

    installed(monkeypatch, Of2x)
    assert base_class() is Of2x
    installed(monkeypatch, Of1x)
    assert base_class() is StandaloneBase


def test_without_label_studio_ml_there_is_a_base_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", None)
    assert base_class() is StandaloneBase


def test_it_derives_from_whichever_base_is_there() -> None:
    assert issubclass(MaskloopModel, model.Base)
