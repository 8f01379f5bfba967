"""The networks: torch modules with the parameter names and the computations of the published checkpoints."""

import os
from functools import partial

import torch

from kronos.nn.model import Kronos, S2Attention
from kronos.nn.quantizer import BinarySphericalQuantizer, QuantizerLoss
from kronos.nn.tokenizer import KronosTokenizer, TokenizerLoss

# OpenMP's threads do not survive a fork, and a forked child that needs them would wait for ever. The number of threads
# changes no result, so children get one; a child may set another number if its parent has computed nothing.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

__all__ = ["BinarySphericalQuantizer", "Kronos", "KronosTokenizer", "QuantizerLoss", "S2Attention", "TokenizerLoss"]
