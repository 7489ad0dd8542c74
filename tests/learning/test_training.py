"""Training teaches the decoder what reviewed masks say, repeats itself exactly, and survives being killed."""

import weakref
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskloop.engines.torch_engine import TorchEngine
from maskloop.errors import MaskloopError
from maskloop.evaluation.prompted import click
from maskloop.geometry import masks
from maskloop.learning.adapters import adapt, linear_layers, merge
from maskloop.learning.dataset import ground_truth
from maskloop.learning.lessons import batches, count_steps
from maskloop.learning.samples import Sample, Seen, prepare, squared
from maskloop.learning.training import DECODERS, Progress, device_for, train, usable
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.masks import best
from maskloop.sam.network import MobileSam, load_model, weights_hash
from maskloop.sam.values import Embedding, Image, ImageSize

SETTINGS = TrainingSettings(
    epochs=2, prompts_per_step=2, refining_share=0.5, learning_rate=1e-3, warmup_steps=1, average=0.0
)


@pytest.fixture(scope="module")
def network() -> MobileSam:
    """Untrained: what counts here is that weights change as they should."""
    torch.manual_seed(0)
    model = MobileSam()
    model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.normal_()
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def samples() -> list[list[Sample]]:
    random = np.random.default_rng(0)
    found = []
    for photo in range(2):
        masks = np.zeros((3, 90, 120), bool)
        for number, mask in enumerate(masks):
            mask[10 + 20 * number : 40 + 20 * number, 10 + 15 * photo : 60] = True
        embedding = Embedding(random.normal(size=(256, 64, 64)).astype(np.float16), ImageSize(90, 120))
        pixels = random.integers(0, 256, (90, 120, 3), np.uint8)
        found.append([prepare(Seen(embedding, squared(pixels)), list(masks), photo)])
    return found


def learned(
    network: MobileSam, samples: list[list[Sample]], settings: TrainingSettings = SETTINGS, **more: object
) -> str:
    model = train(deepcopy(network), network, samples, settings, **more)  # type: ignore[arg-type]
    return weights_hash(model)


def test_every_object_is_learned_from_once_an_epoch(samples: list[list[Sample]]) -> None:
    targets = [id(target) for step in batches(samples, SETTINGS) for lesson in step for target in lesson.targets]
    assert sorted(targets) == sorted(2 * [id(target) for views in samples for target in views[0].targets])


@pytest.mark.parametrize("pixels", [0, 1, 10, 12])
def test_what_is_less_than_half_a_pixel_to_the_network_is_no_object(pixels: int) -> None:
    """In a photo of 4000 pixels, of which it gives 256."""
    mask = np.zeros((400, 4000), bool)
    mask[20 : 20 + pixels, 18 : 18 + pixels] = True
    embedding = Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(400, 4000))
    found = prepare(Seen(embedding), [mask], 0)
    assert [bool((target.mask() > 0.5).any()) for target in found.targets] == [True] * (pixels == 12)


def test_a_step_learns_from_several_photos(samples: list[list[Sample]]) -> None:
    settings = SETTINGS.model_copy(update={"prompts_per_step": 4})
    steps = list(batches(samples, settings))
    assert [sum(len(lesson.targets) for lesson in step) for step in steps] == [6, 6]
    assert all(len({id(lesson.sample) for lesson in step}) == 2 for step in steps)


def test_equal_seeds_give_equal_weights(network: MobileSam, samples: list[list[Sample]]) -> None:
    other = SETTINGS.model_copy(update={"seed": 1})
    assert learned(network, samples) == learned(network, samples) != learned(network, samples, other)


def test_the_encoder_stays_so_embeddings_serve_every_version(network: MobileSam, samples: list[list[Sample]]) -> None:
    model = train(deepcopy(network), network, samples, SETTINGS)
    assert weights_hash(model.image_encoder) == weights_hash(network.image_encoder)
    assert weights_hash(model.mask_decoder) != weights_hash(network.mask_decoder)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("refining", "boxes", "learning"),
    [(0.0, 0.0, {"mask_decoder"}), (0.0, 1.0, {"single_mask_decoder"}), (1.0, 0.0, {"single_mask_decoder"})],
)
def test_first_clicks_teach_one_decoder_and_other_prompts_another(
    network: MobileSam, samples: list[list[Sample]], refining: float, boxes: float, learning: set[str]
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, "refining_share": refining, "box_share": boxes})
    model = train(deepcopy(network), network, samples, settings)
    official = weights_hash(network.mask_decoder)
    assert {name for name in DECODERS if weights_hash(model.get_submodule(name)) != official} == learning


ADAPTING = SETTINGS.model_copy(update={"adapter_rank": 2, "epochs": 1, "prompts_per_step": 8, "distilling_share": 1.0})


def test_with_adapters_the_encoder_learns_too(network: MobileSam, samples: list[list[Sample]]) -> None:
    models = [train(deepcopy(network), network, samples, ADAPTING) for _ in range(2)]
    before, after = network.image_encoder.state_dict(), models[0].image_encoder.state_dict()
    assert before.keys() == after.keys()  # plain weights: nothing else has to know of adapters
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{name}.weight" for name, _ in linear_layers(network.image_encoder)}
    assert weights_hash(models[0]) == weights_hash(models[1])
    assert not any(parameter.requires_grad for parameter in models[0].parameters())


def test_an_encoder_without_its_pixels_cannot_learn(network: MobileSam, samples: list[list[Sample]]) -> None:
    blind = [[replace(sample, pixels=None) for sample in views] for views in samples]
    with pytest.raises(ValueError, match="pixels"):
        learned(network, blind, ADAPTING)


def test_an_adapter_changes_nothing_at_first_and_is_merged_exactly() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 4))
    given = torch.randn(3, 6)
    before = model(given)
    parameters = adapt(model, rank=2, seed=0)
    assert {name: tuple(one.shape) for name, one in parameters.items()} == {
        "0.down": (2, 6),
        "0.up": (5, 2),
        "2.down": (2, 5),
        "2.up": (4, 2),
    }
    torch.testing.assert_close(model(given), before, rtol=0, atol=0)
    for name, parameter in parameters.items():
        if name.endswith("up"):
            nn.init.normal_(parameter)
    adapted = model(given)
    assert not torch.allclose(adapted, before)
    merge(model)
    torch.testing.assert_close(model(given), adapted, rtol=0, atol=0)
    assert {*model.state_dict()} == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_the_result_lies_on_the_way_to_the_official_weights(network: MobileSam, samples: list[list[Sample]]) -> None:
    def taught(share: float) -> torch.Tensor:
        settings = SETTINGS.model_copy(update={"official_share": share})
        model = train(deepcopy(network), network, samples, settings)
        return torch.cat([one.flatten() for name in DECODERS for one in model.get_submodule(name).parameters()])

    alone, half, official = (taught(share) for share in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half, (alone + official) / 2)
    assert not torch.equal(alone, official)
    assert torch.equal(official, torch.cat([one.flatten() for one in network.mask_decoder.parameters()] * 2))


def test_a_killed_run_goes_on_where_it_was(
    network: MobileSam, samples: list[list[Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskloop.learning.training.CHECKPOINT_STEPS", 2)

    class Killed(Exception):
        pass

    seen = []

    def kill(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step == 3:
            raise Killed

    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(Killed):
        learned(network, samples, on_progress=kill, checkpoint=checkpoint)
    assert learned(network, samples, on_progress=lambda p: seen.append(p.step), checkpoint=checkpoint) == learned(
        network, samples
    )
    assert seen == [1, 2, 3, *range(3, count_steps(samples, SETTINGS) + 1)]


@pytest.mark.weights
def test_it_learns_to_answer_a_click_with_what_people_meant(
    official_weights: Path, photo: Callable[[str], Image]
) -> None:
    """Here, squares on a photo, of which the official model knows nothing."""
    network = load_model(official_weights)
    (embedding,) = TorchEngine(load_model(official_weights)).encode([photo("coffee.png")])
    squares = np.zeros((3, *embedding.size), bool)
    for number, square in enumerate(squares):
        square[40 + 120 * number : 100 + 120 * number, 60 + 180 * number : 120 + 180 * number] = True

    def overlap(model: MobileSam) -> float:
        clicks = [click(ground_truth(square)) for square in squares]
        answers = TorchEngine(deepcopy(model)).decode(embedding, clicks, multimask=True)
        found = [masks.iou(best(answer).pixels, square) for answer, square in zip(answers, squares, strict=True)]
        return float(np.mean(found))

    settings = TrainingSettings(epochs=40, prompts_per_step=3, box_share=0, refining_share=0, official_share=0)
    before = overlap(network)
    taught = train(deepcopy(network), network, [[prepare(Seen(embedding), list(squares), 0)]], settings)
    assert overlap(taught) > before + 0.2


def test_a_gpu_without_room_is_named_with_a_way_out(
    network: MobileSam, samples: list[list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def full(*_: object) -> None:
        large = torch.zeros(1)
        held.append(weakref.ref(large))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Sample, "features", full)
    with pytest.raises(MaskloopError, match="MASKLOOP_ENGINE=torch-cpu") as told:
        train(deepcopy(network), network, samples, SETTINGS)
    assert held[0]() is None, f"{told.value!r} keeps what the step held"


def test_a_gpu_that_pytorchs_build_is_not_for_leaves_training_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ..."

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch, "zeros", refuse)
    assert usable("cuda") == "cpu"
    assert "no kernel image" in caplog.text
    said = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal"):
        usable("cuda")
    assert usable("cpu") == "cpu"


def test_an_engine_of_the_cpu_keeps_training_off_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device_for(engine) for engine in ("auto", "torch-cuda", "torch-cpu", "openvino")] == [
        *2 * ["cuda"],
        *2 * ["cpu"],
    ]
