"""Small networks with random weights, for tests."""

import torch

from kronos.nn import Kronos, KronosTokenizer
from kronos.zoo import Normalisation


def random_model(
    seed: int, *, layers: int = 2, heads: int = 2, bits: int = 5, s2_attention: str = "published"
) -> Kronos:
    """A Kronos with logits so sharp that tokens depend on the history."""
    torch.manual_seed(seed)
    model = Kronos(bits, bits, layers, 16 * heads, heads, 48, 0.1, 0.1, 0.1, 0.1, True, s2_attention)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def random_tokenizer(seed: int, *, bits: int = 5, normalisation: Normalisation = "spread") -> KronosTokenizer:
    """A tokenizer that fits `random_model`."""
    torch.manual_seed(seed)
    tokenizer = KronosTokenizer(
        6, 32, 2, 48, 3, 3, 0.1, 0.1, 0.1, bits, bits, 0.05, 1.0, 1.1, 0.05, 4, normalisation=normalisation
    )
    return tokenizer.eval()


def random_tokens(rows: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse ids, fine ids and calendar features of two series."""
    random = torch.Generator().manual_seed(seed)
    s1, s2 = (torch.randint(32, (2, rows), generator=random) for _ in range(2))
    stamps = torch.stack([torch.randint(n, (2, rows), generator=random) for n in (60, 24, 7, 32, 13)], -1)
    return s1, s2, stamps
