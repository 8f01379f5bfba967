"""The networks: torch modules only, with the names and the mathematics of published checkpoints."""

from kronos.nn.model import Kronos, S2Attention
from kronos.nn.quantizer import BinarySphericalQuantizer, QuantizerLoss
from kronos.nn.tokenizer import KronosTokenizer, TokenizerLoss

__all__ = ["BinarySphericalQuantizer", "Kronos", "KronosTokenizer", "QuantizerLoss", "S2Attention", "TokenizerLoss"]
