"""Small networks with random weights, for tests."""

import torch

from kronos.nn import Kronos, KronosTokenizer


def random_model(
    seed: int, *, layers: int = 2, heads: int = 2, bits: int = 5, s2_attention: str = "published"
) -> Kronos:
    """A Kronos with sharp enough logits that tokens depend on the history."""
    torch.manual_seed(seed)
    model = Kronos(bits, bits, layers, 16 * heads, heads, 48, 0.1, 0.1, 0.1, 0.1, True, s2_attention)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def random_tokenizer(seed: int, *, bits: int = 5) -> KronosTokenizer:
    """A tokenizer of matching bits."""
    torch.manual_seed(seed)
    tokenizer = KronosTokenizer(6, 32, 2, 48, 3, 3, 0.1, 0.1, 0.1, bits, bits, 0.05, 1.0, 1.1, 0.05, 4)
    return tokenizer.eval()
