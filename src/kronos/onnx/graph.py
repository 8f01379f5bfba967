"""Building of an ONNX graph: operations by their names, weights in the precision in which they are stored.

- Matrices are stored as the model has them. They are converted to float32, scaled and multiplied with each other by
  operations on constants, which a runtime folds when it loads the file: a file is small, but every product is one of
  float32, and float16 is exact for a model whose weights are float16 values.
- int8 has one scale per output channel of a matrix and per row of a table, at which its largest weight is 127.
- A matrix whose weights exceed the range of float16 stays float32.
- Vectors (biases, weights of norms) and rotations always are float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kronos.errors import ParameterError

WeightType = Literal["float32", "float16", "int8"]
Axes = Sequence[int | str]

OPSET, IR_VERSION = 17, 8  # read by every release of ONNX Runtime since 1.12, also in browsers
_MAX_BYTES = 2**31 - 2**20  # a protocol buffer holds less than 2 GiB


def import_onnx() -> Any:
    """The package ``onnx``.

    Raises:
        ParameterError: If it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ParameterError("The export needs the package onnx: install the extra 'onnx'.") from error
    return onnx


def to_float32(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor's values on the CPU."""
    values: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).numpy()
    return values


def quantise(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a matrix to int8 with one scale for each index of the other axis.

    Args:
        values: ``[rows, columns]``.
        axis: The axis that shares a scale.

    Returns:
        The integers, −127 … 127, and their scales, which broadcast against them.
    """
    largest = np.abs(values).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(values / scale).astype(np.int8), scale


def _fits_float16(values: NDArray[np.float32]) -> bool:
    return bool(np.abs(values).max(initial=0) <= np.finfo(np.float16).max)


class GraphBuilder:
    """An ONNX graph under construction; values are referred to by their names.

    Args:
        name: The graph's name, for messages.
        weights: How matrices and tables are stored.
    """

    def __init__(self, name: str, weights: WeightType) -> None:
        self.name, self.weights = name, weights
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._initializers: list[Any] = []
        self._constants: dict[bytes, str] = {}
        self._bytes = 0
        self._names = 0

    def input(self, name: str, dtype: type[np.generic], axes: Axes) -> str:
        """Declare an input; a text in ``axes`` is the name of an axis of any length."""
        self._inputs.append(self._declare(name, dtype, axes))
        return name

    def output(self, value: str, name: str, dtype: type[np.generic], axes: Axes) -> None:
        """Declare a value as an output under a name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._declare(name, dtype, axes))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation with one result."""
        return self._add(kind, inputs, 1, attributes)[0]

    def split(self, value: str, axis: int, *sizes: str | int) -> list[str]:
        """Split a value along an axis into parts of these sizes: numbers, or values of `size`."""
        return self._add("Split", [value, self._vector_of(sizes)], len(sizes), {"axis": axis})

    def constant(self, value: Any, dtype: type[np.generic] = np.int64) -> str:
        """A constant; equal ones are stored once."""
        return self._store(np.asarray(value, dtype))

    def vector(self, tensor: Tensor) -> str:
        """A bias, a norm's weights or a table of rotations, float32."""
        return self._store(to_float32(tensor))

    def linear(self, x: str, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> str:
        """Map ``[..., in]`` to ``[..., out]`` by ``weight [out, in]``, times ``scale [out]``, and ``bias [out]``.

        The weights are scaled in the graph, because as float16 values they would be rounded.
        """
        matrix = self._matrix(to_float32(weight).T, shared_axis=0)
        if scale is not None:
            matrix = self.op("Mul", matrix, self.vector(scale))
        product = self.op("MatMul", x, matrix)
        return product if bias is None else self.op("Add", product, self.vector(bias))

    def table(self, values: Tensor) -> str:
        """A table ``[V, d]``, as float32."""
        return self._matrix(to_float32(values), shared_axis=1)

    def lookup(self, table: str, ids: str) -> str:
        """Rows ``[..., d]`` of a table ``[V, d]`` at ``ids [...]``."""
        return self.op("Gather", table, ids, axis=0)

    def size(self, value: str, axis: int) -> str:
        """The length of an axis, as a vector of one number; the axis counts from 0."""
        return self.op("Shape", value, start=axis, end=axis + 1)

    def concat(self, *values: str, axis: int = 0) -> str:
        """Concatenate values along an axis."""
        return self.op("Concat", *values, axis=axis)

    def reshape(self, value: str, *sizes: str | int) -> str:
        """Reshape to sizes that are numbers or values of `size`; an axis may have the length 0."""
        return self.op("Reshape", value, self._vector_of(sizes), allowzero=1)

    def transpose(self, value: str, *order: int) -> str:
        """Permute the axes."""
        return self.op("Transpose", value, perm=list(order))

    def select(self, value: str, index: int, axis: int) -> str:
        """The part of a value at an index of an axis, without that axis."""
        return self.op("Gather", value, self.constant(index), axis=axis)

    def counting(self, start: str, stop: str) -> str:
        """The whole numbers from ``start`` up to, but without, ``stop``, which are vectors of one number."""
        axis = self.constant([0])
        first, last = (self.op("Squeeze", bound, axis) for bound in (start, stop))
        return self.op("Range", first, last, self.constant(1))

    def model(self, properties: Mapping[str, str]) -> bytes:
        """The finished and checked model, as the bytes of its file.

        Args:
            properties: Texts to store in the model.

        Raises:
            ParameterError: If it is too large for one file.
        """
        if self._bytes > _MAX_BYTES:
            raise ParameterError(
                f"The weights of {self.name} take {self._bytes / 1e9:.1f} GB as {self.weights}, but an ONNX file holds "
                "at most 2 GiB: choose float16 or int8."
            )
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._initializers)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="kronos-forecast")
        helper.set_model_props(model, dict(properties))
        data: bytes = model.SerializeToString(deterministic=True)
        self._onnx.checker.check_model(data)
        return data

    def _add(self, kind: str, inputs: Sequence[str], count: int, attributes: Mapping[str, Any]) -> list[str]:
        results = [f"{kind.lower()}_{self._names + i}" for i in range(count)]
        self._names += count
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), results, **attributes))
        return results

    def _vector_of(self, sizes: Sequence[str | int]) -> str:
        if all(isinstance(size, int) for size in sizes):
            return self.constant(sizes)
        return self.concat(*(size if isinstance(size, str) else self.constant([size]) for size in sizes))

    def _store(self, array: NDArray[Any]) -> str:
        array = np.ascontiguousarray(array) if array.ndim else array
        key = hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).digest()
        if key not in self._constants:
            name = self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers.append(self._onnx.numpy_helper.from_array(array, name))
            self._bytes += array.nbytes
        return self._constants[key]

    def _matrix(self, values: NDArray[np.float32], shared_axis: int) -> str:
        """A stored matrix, as float32; ``shared_axis`` is the one whose numbers share a scale as int8."""
        if self.weights == "int8":
            integers, scale = quantise(values, shared_axis)
            return self.op("Mul", self._as_float32(self._store(integers)), self._store(scale))
        if self.weights == "float16" and _fits_float16(values):
            return self._as_float32(self._store(values.astype(np.float16)))
        return self._store(values)

    def _as_float32(self, value: str) -> str:
        return self.op("Cast", value, to=self._onnx.TensorProto.FLOAT)

    def _declare(self, name: str, dtype: type[np.generic], axes: Axes) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(axes))
