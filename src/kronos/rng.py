"""Seed derivations: every random stream of the package that depends on a seed and on names.

- The same seed and names give the same numbers on every machine, in every process and in any order of calls.
- Asking for more numbers, paths or steps leaves the first ones as they are.
- `derive_seed` and `named_seed` turn names into a seed, the other functions into random numbers.

The tensor version for training, which also runs on a GPU, is `kronos.training.runtime.keyed_uniforms`.
"""

from __future__ import annotations

import hashlib

import numpy as np

from kronos.typing import FloatArray

_WINDOW_STREAM = 0x77696E646F7773  # "windows" in ASCII: separates this stream from others of the same seed


def _encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which names of files outside UTF-8 contain, are encoded too."""
    return text.encode("utf-8", "surrogatepass")


def derive_seed(seed: int, name: str) -> int:
    """A 48-bit seed for one series or origin, so that forecasts of different origins have independent errors."""
    return int.from_bytes(hashlib.blake2b(_encode(f"{seed}|{name}"), digest_size=6).digest(), "big")


def named_seed(*names: object) -> int:
    """A seed in [0, 2^63) that depends only on the names; for torch's generators."""
    digest = hashlib.blake2b(_encode("|".join(map(str, names))), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def named_generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose, for example ``"crypto market"``; purposes are independent of each other."""
    digest = hashlib.sha256(_encode(purpose)).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype="<u4").tolist()])


def window_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """A generator for one training window, by the number of its epoch and its index within the epoch."""
    counter = np.array([0, 0, index, epoch], dtype=np.uint64)
    key = np.array([seed, _WINDOW_STREAM], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def keyed_uniforms(seed: int, series: str, paths: range, horizon: int) -> FloatArray:
    """Uniform numbers in [0, 1) for the sample paths of one series: two per step, one for each token.

    Args:
        seed: Any integer.
        series: The series' name.
        paths: Numbers of the sample paths.
        horizon: Steps, H.

    Returns:
        ``[len(paths), H, 2]``.
    """
    digest = hashlib.blake2b(_encode(f"{seed}|{series}"), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    uniforms = np.empty((len(paths), horizon, 2))
    for row, path in enumerate(paths):
        counter = np.array([0, 0, path, 0], dtype=np.uint64)  # leaves each path a stream of 2^128 numbers
        uniforms[row] = np.random.Generator(np.random.Philox(key=key, counter=counter)).random((horizon, 2))
    return uniforms


def keyed_normals_and_uniforms(seed: int, paths: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Standard normal numbers and uniform numbers in [0, 1), each ``[paths, horizon]``, one stream per path."""
    normals, uniforms = np.empty((paths, horizon)), np.empty((paths, horizon))
    seed = int(seed)  # it may be one of numpy
    words = max(1, -(-seed.bit_length() // 32))
    entropy = np.zeros(words + 2, dtype=np.uint32)  # what numpy makes of [seed, path, stream], which takes it longer
    entropy[:words] = np.frombuffer(seed.to_bytes(4 * words, "little"), dtype="<u4")
    for path in range(paths):
        entropy[words:] = path, 0
        normals[path] = np.random.default_rng(entropy).standard_normal(horizon)
        entropy[words:] = path, 1
        uniforms[path] = np.random.default_rng(entropy).random(horizon)
    return normals, uniforms
