"""The networks: torch modules with the parameter names and the computations of the published checkpoints."""

from kronos.nn.model import Kronos, S2Attention
from kronos.nn.quantizer import BinarySphericalQuantizer, QuantizerLoss
from kronos.nn.tokenizer import KronosTokenizer, TokenizerLoss

__all__ = ["BinarySphericalQuantizer", "Kronos", "KronosTokenizer", "QuantizerLoss", "S2Attention", "TokenizerLoss"]
