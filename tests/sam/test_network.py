"""The network reads the official checkpoint, all of it and nothing else, and has no state that can go stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskloop.errors import WeightsError
from maskloop.sam.layers import fold
from maskloop.sam.network import CLASSIFIER, MobileSam, from_state, load_model, weights_hash


@pytest.fixture(scope="module")
def random_state() -> dict[str, torch.Tensor]:
    """Weights of the right shapes and likely sizes; what starts as all zeros or ones differs from that."""
    torch.manual_seed(0)
    state = MobileSam().state_dict()
    for tensor in state.values():
        if tensor.is_floating_point() and (tensor == tensor.flatten()[0]).all():
            tensor += 2 * torch.rand_like(tensor)
    return state


def embed(model: MobileSam) -> torch.Tensor:
    """A small square, for the encoder's layers do not depend on its size."""
    square = torch.randn((1, 256, 256, 3), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.image_encoder(square)


def test_loads_what_it_saves(tmp_path: Path, random_state: dict[str, torch.Tensor]) -> None:
    torch.save(random_state, tmp_path / "saved.pt")
    loaded = load_model(tmp_path / "saved.pt").state_dict()
    assert loaded.keys() == random_state.keys()
    assert all(torch.equal(loaded[name], random_state[name]) for name in random_state)


def test_a_version_may_have_a_decoder_for_prompts_that_get_one_mask(random_state: dict[str, torch.Tensor]) -> None:
    alone = from_state(random_state)
    assert alone.decoder(multimask=True) is alone.decoder(multimask=False) is alone.mask_decoder
    own = {f"single_{name}": tensor for name, tensor in random_state.items() if name.startswith("mask_decoder.")}
    model = from_state(random_state | own)
    assert model.decoder(multimask=True) is model.mask_decoder
    assert model.decoder(multimask=False) is model.single_mask_decoder
    with pytest.raises(WeightsError, match="single_mask_decoder"):
        from_state(random_state | dict([*own.items()][1:]))


def test_official_classifier_is_the_only_thing_left_out(random_state: dict[str, torch.Tensor]) -> None:
    from_state(random_state | {name: torch.zeros(1) for name in CLASSIFIER})
    with pytest.raises(WeightsError, match="surprise"):
        from_state(random_state | {"surprise": torch.zeros(1)})


def test_missing_or_misshapen_weights_are_refused(random_state: dict[str, torch.Tensor]) -> None:
    name = "mask_decoder.iou_token.weight"
    with pytest.raises(WeightsError, match=name):
        from_state({key: tensor for key, tensor in random_state.items() if key != name})
    with pytest.raises(WeightsError, match=name):
        from_state(random_state | {name: torch.zeros(1, 255)})


@pytest.mark.parametrize("content", [b"", b"bad", b"PK\x03\x04 cut short", b"\x80\x04K\x2a."])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pt"):
        load_model(tmp_path / "bad.pt")


def test_no_code_in_a_weights_file_is_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "harmed"),)  # type: ignore[return-value]

    torch.save({"harm": Harm()}, tmp_path / "harm.pt")
    with pytest.raises(WeightsError):
        load_model(tmp_path / "harm.pt")
    assert not (tmp_path / "harmed").exists()


def test_modes_and_the_order_of_loading_change_nothing(random_state: dict[str, torch.Tensor]) -> None:
    """The official encoder caches a bias table in ``eval()``: loading after it gives plausible, wrong masks."""
    expected = embed(from_state(random_state))
    late = MobileSam().eval()
    embed(late)  # whatever it might cache, it caches now
    late.load_state_dict(random_state)
    assert torch.equal(embed(late), expected)
    assert torch.equal(embed(late.train()), expected)


def test_weights_changed_in_place_count_at_once(random_state: dict[str, torch.Tensor]) -> None:
    model = from_state(random_state)
    before = embed(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("attention_biases"):
                parameter += torch.linspace(0, 3, parameter.shape[1])
    assert not torch.allclose(embed(model), before, atol=1e-3)


def test_folded_encoder_gives_the_same(random_state: dict[str, torch.Tensor]) -> None:
    model = from_state(random_state)
    expected = embed(model)
    fold(model)
    assert torch.allclose(embed(model), expected, atol=1e-4)


def test_hash_follows_every_weight_of_its_part_and_no_other(random_state: dict[str, torch.Tensor]) -> None:
    def hashes(change: str | None) -> tuple[str, str]:
        state = {name: tensor + 1 if name == change else tensor for name, tensor in random_state.items()}
        model = from_state(state)
        return weights_hash(model.image_encoder), weights_hash(model.mask_decoder)

    encoder, decoder = hashes(None)
    assert hashes(None) == (encoder, decoder)
    other_encoder, same_decoder = hashes("image_encoder.patch_embed.seq.0.bn.running_var")
    assert other_encoder != encoder
    assert same_decoder == decoder
    same_encoder, other_decoder = hashes("mask_decoder.iou_prediction_head.layers.2.bias")
    assert same_encoder == encoder
    assert other_decoder != decoder
