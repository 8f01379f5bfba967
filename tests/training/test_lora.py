"""LoRA: adapters start neutral, only they are trained, merging is exact, and they load only on their own base."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.inputs import random_candles
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kronos import Kronos, KronosPredictor
from kronos.errors import CheckpointError, ParameterError
from kronos.training.lora import LoRA, add_lora, is_adapted, load_adapter, merge_lora, save_adapter
from networks import random_model, random_tokenizer

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


def inputs(rows: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    s1, s2 = (torch.randint(32, (3, rows), generator=random) for _ in range(2))
    stamps = torch.stack([torch.randint(n, (3, rows), generator=random) for n in (60, 24, 7, 32, 13)], -1)
    return s1, s2, stamps


@torch.no_grad()
def logits(model: Kronos) -> Tensor:
    s1, s2, stamps = inputs()
    return torch.cat(model(s1, s2, stamps, use_teacher_forcing=True, s1_targets=s1), dim=-1)


def loss(model: Kronos) -> Tensor:
    s1, s2, stamps = inputs()
    return model.head.compute_loss(*model(s1, s2, stamps, use_teacher_forcing=True, s1_targets=s1), s1, s2)[0]


def trained_with_lora(lora: LoRA, steps: int = 3) -> Kronos:
    """A model with trained adapters."""
    model = add_lora(random_model(1), lora).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    torch.manual_seed(5)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    return model.eval()


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Equal within 1e-5 of the largest value: products of large factors are rounded."""
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_new_adapters_change_nothing() -> None:
    base = random_model(1)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    state = torch.random.get_rng_state()
    adapted = add_lora(base, LoRA())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(logits(adapted), logits(base))
    assert not is_adapted(base)
    assert all(p.requires_grad for p in base.parameters())
    after = adapted.state_dict()
    for name, value in before.items():  # all names and values of the base are unchanged
        assert torch.equal(after[name], value)
    added = after.keys() - before.keys()
    assert {name.rpartition(".lora_")[0].rpartition(".")[2] for name in added} == set(ATTENTION)
    assert len(added) == 2 * 4 * 3  # two factors, four projections; two blocks and the s2 attention


def test_only_adapters_are_trained() -> None:
    base, adapted = random_model(1), trained_with_lora(LoRA(rank=4, dropout=0.1))
    assert loss(adapted) < loss(base.eval())
    for name, value in adapted.state_dict().items():
        if name in base.state_dict():
            assert torch.equal(value, base.state_dict()[name]), name
        else:
            assert value.abs().sum() > 0, name
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert all(".lora_" in name for name in trained)
    assert {name for name, p in adapted.named_parameters() if p.grad is not None} == set(trained)


def test_initial_factors_depend_only_on_the_seed() -> None:
    def factor(seed: int) -> Tensor:
        return add_lora(random_model(1), LoRA(), seed=seed).state_dict()["transformer.0.self_attn.q_proj.lora_A.weight"]

    first = factor(3)
    torch.rand(7)
    assert torch.equal(factor(3), first)
    assert not torch.equal(factor(4), first)


@settings(max_examples=12)
@given(
    rank=st.integers(1, 12),
    alpha=st.floats(0.5, 64),
    targets=st.lists(st.sampled_from([*ATTENTION, "w1", "ffn.w2", "fusion_proj", "head.proj_s2"]), min_size=1),
)
def test_merging_keeps_names_and_outputs(rank: int, alpha: float, targets: list[str]) -> None:
    lora = LoRA(rank=rank, alpha=alpha, targets=tuple(targets))
    adapted = trained_with_lora(lora, steps=1)
    before_merge = {name: value.clone() for name, value in adapted.state_dict().items()}
    merged = merge_lora(adapted)
    base = random_model(1)
    assert not is_adapted(merged)
    assert list(merged.state_dict()) == list(base.state_dict())
    assert all(p.requires_grad for p in merged.parameters())
    assert all(p.grad is None for p in merged.parameters())
    assert not any(isinstance(value, torch.nn.Dropout) and value.training for value in merged.modules())
    assert_close(logits(merged), logits(adapted))
    assert not torch.equal(logits(merged), logits(base))
    assert adapted.state_dict().keys() == before_merge.keys()  # the merged network is a copy
    assert all(torch.equal(value, before_merge[name]) for name, value in adapted.state_dict().items())


@settings(max_examples=8, deadline=None)
@given(rank=st.integers(1, 9), merge=st.booleans())
def test_saved_adapter_loads_unchanged(tmp_path_factory: pytest.TempPathFactory, rank: int, merge: bool) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    adapted = trained_with_lora(LoRA(rank=rank, alpha=3.5, targets=("q_proj", "head.proj_s1")), steps=1)
    assert save_adapter(adapted, folder, base="kronos-mini") == folder
    base = random_model(1)
    loaded = load_adapter(base, folder, merge=merge)
    assert is_adapted(loaded) is not merge
    assert not is_adapted(base)
    if merge:
        assert_close(logits(loaded), logits(adapted))
    else:
        torch.testing.assert_close(loaded.state_dict(), adapted.state_dict(), rtol=0, atol=0)
        assert [n for n, p in loaded.named_parameters() if p.requires_grad] == [
            n for n, p in adapted.named_parameters() if p.requires_grad
        ]


def test_files_have_the_format_of_peft(tmp_path: Path) -> None:
    adapted = trained_with_lora(LoRA(rank=4, alpha=8, targets=("q_proj",)), steps=1)
    save_adapter(adapted, tmp_path, base="NeoQuasar/Kronos-small")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    expected_config = {
        **{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0, "bias": "none", "use_dora": False},
        "base_model_name_or_path": "NeoQuasar/Kronos-small",
        "target_modules": [
            "dep_layer.cross_attn.q_proj",
            "transformer.0.self_attn.q_proj",
            "transformer.1.self_attn.q_proj",
        ],
    }
    assert expected_config.items() <= config.items()
    factors = load_file(tmp_path / "adapter_model.safetensors")
    assert set(factors) == {
        f"base_model.model.{path}.lora_{factor}.weight" for path in expected_config["target_modules"] for factor in "AB"
    }
    assert factors["base_model.model.dep_layer.cross_attn.q_proj.lora_A.weight"].shape == (4, 32)


def test_merged_network_saves_and_loads_as_a_checkpoint(tmp_path: Path) -> None:
    adapted = trained_with_lora(LoRA(rank=2))
    merge_lora(adapted).save_pretrained(tmp_path, context=48)
    assert torch.equal(logits(Kronos.from_pretrained(tmp_path)), logits(merge_lora(adapted)))


@pytest.mark.parametrize("s2_attention", ["published", "causal"])
def test_forecasts_use_the_adapter_merged_or_not(tmp_path: Path, s2_attention: str) -> None:
    random_model(1, s2_attention=s2_attention).save_pretrained(tmp_path / "base", context=48)
    base = Kronos.from_pretrained(tmp_path / "base")
    all_layers = LoRA(rank=4, targets=(*ATTENTION, "w1", "w2", "w3", "fusion_proj", "proj_s1", "proj_s2"))
    adapted = add_lora(base, all_layers)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.3)
    save_adapter(adapted, tmp_path / "adapter")
    tokenizer = random_tokenizer(2)

    def paths(model: Kronos) -> Tensor:
        forecast = KronosPredictor(model, tokenizer, "cpu", 48).forecast(random_candles(30), 6, samples=8, seed=1)
        assert ("changed" in forecast.metadata.model) is (model is not base)
        return torch.tensor(forecast.paths)

    unmerged = paths(load_adapter(base, tmp_path / "adapter", merge=False))
    merged = paths(load_adapter(base, tmp_path / "adapter"))
    assert_close(merged, unmerged)
    assert not torch.allclose(merged, paths(base), rtol=1e-3)


def test_adapted_tokenizer_uses_its_adapters() -> None:
    tokenizer = random_tokenizer(1)
    adapted = add_lora(tokenizer, LoRA(rank=3, targets=("embed", "q_proj", "head", "post_quant_embed")))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_B" in name:
                parameter.add_(0.05)
    model, history = random_model(2), random_candles(30)
    actual, expected = (
        KronosPredictor(model, network, "cpu", 48).forecast(history, 4, samples=4, seed=1).paths
        for network in (adapted, merge_lora(adapted))
    )
    assert_close(torch.tensor(actual), torch.tensor(expected))


def test_adapter_of_another_base_raises(tmp_path: Path) -> None:
    save_adapter(trained_with_lora(LoRA(rank=2)), tmp_path, base="kronos-mini")
    with pytest.raises(CheckpointError, match=r"trained on other weights .* load its base \(kronos-mini\)"):
        load_adapter(random_model(2), tmp_path)
    with pytest.raises(CheckpointError, match=r"transformer\.1\.\S+ is missing\. Load its base \(kronos-mini\)"):
        load_adapter(random_model(1, layers=1), tmp_path)
    with pytest.raises(CheckpointError, match="has another size"):
        load_adapter(random_model(1, heads=4), tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this tokenizer"):
        load_adapter(random_tokenizer(1), tmp_path)


def test_peft_adapters_without_a_hash_load(tmp_path: Path) -> None:
    adapted = trained_with_lora(LoRA(rank=2))
    save_adapter(adapted, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({name: value.clone() for name, value in load_file(file).items()}, file)
    config = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    for key in ("bias", "revision", "modules_to_save"):
        del config[key]
    peft_values = {"layer_replication": None, "lora_bias": False, "loftq_config": {}, "init_lora_weights": "gaussian"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | peft_values), "utf-8")
    assert_close(logits(load_adapter(random_model(1), tmp_path)), logits(adapted))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora true: only plain LoRA"),
        ({"use_rslora": True}, "use_rslora true"),
        ({"peft_type": "LOHA"}, 'peft_type "LOHA"'),
        ({"bias": "all"}, 'bias "all"'),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"modules_to_save": ["head"]}, "modules_to_save"),
        ({"use_qalora": True}, "use_qalora true"),
        ({"init_lora_weights": "pissa"}, 'init_lora_weights "pissa"'),
        ({"r": 3}, "does not fit this model"),
        ({"r": "many"}, "invalid values"),
        ({"lora_alpha": -1}, "invalid values"),
    ],
)
def test_variants_of_lora_raise(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    save_adapter(trained_with_lora(LoRA(rank=2)), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    with pytest.raises(CheckpointError, match=message):
        load_adapter(random_model(1), tmp_path)


def test_missing_and_damaged_files_raise(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json"):
        load_adapter(random_model(1), tmp_path)
    save_adapter(trained_with_lora(LoRA(rank=2)), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    whole = file.read_bytes()
    factors = {name: value.clone() for name, value in load_file(file).items()}  # copies
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a valid safetensors file"):
        load_adapter(random_model(1), tmp_path)
    first = sorted(factors)[0]
    save_file({name: value for name, value in factors.items() if name != first}, file)
    with pytest.raises(CheckpointError, match=r"lacks a factor of dep_layer\.cross_attn\.k_proj"):
        load_adapter(random_model(1), tmp_path)
    save_file({**factors, first: torch.full_like(factors[first], torch.nan)}, file)
    with pytest.raises(CheckpointError, match="invalid tensor"):
        load_adapter(random_model(1), tmp_path)
    save_file({**factors, "base_model.model.embedding.emb_s1.lora_embedding_A": torch.ones(2, 2)}, file)
    with pytest.raises(CheckpointError, match="lora_embedding_A"):
        load_adapter(random_model(1), tmp_path)
    file.rename(tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin, a pickle"):
        load_adapter(random_model(1), tmp_path)


def test_misuse_raises(tmp_path: Path) -> None:
    base, adapted = random_model(1), add_lora(random_model(1), LoRA())
    save_adapter(adapted, tmp_path)
    with pytest.raises(ParameterError, match=r"no linear layer 'q_prj': choose from .*q_proj"):
        add_lora(base, LoRA(targets=("q_proj", "q_prj")))
    with pytest.raises(ParameterError, match="no linear layer 'emb_s1'"):
        add_lora(base, LoRA(targets=("emb_s1",)))
    with pytest.raises(ParameterError, match="already has adapters"):
        add_lora(adapted, LoRA())
    with pytest.raises(ParameterError, match="already has adapters"):
        load_adapter(adapted, tmp_path)
    for call in (merge_lora, lambda network: save_adapter(network, tmp_path)):
        with pytest.raises(ParameterError, match="no adapter to"):
            call(base)
    for wrong in ({"rank": 0}, {"alpha": 0}, {"dropout": 1}, {"targets": ()}, {"ranks": 8}):
        with pytest.raises(ValidationError):
            LoRA.model_validate(wrong)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    adapted = add_lora(random_model(1).to(dtype), LoRA(rank=2, targets=("q_proj", "w2")))
    with torch.no_grad():
        adapted.get_submodule("transformer.0.ffn.w2").lora_B.weight.fill_(0.1)
    merged = merge_lora(adapted)
    assert {p.dtype for p in merged.parameters()} == {dtype}
    tolerance = 1e-12 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=tolerance, atol=tolerance)
