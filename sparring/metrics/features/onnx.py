"""A feature network from an ONNX file (https://onnx.ai/onnx/repo-docs/IR.html), run by ONNX Runtime on the CPU.

Only the file itself is ever read: tensors that it keeps in other files are refused, since their paths are of the
file's choosing (CVE-2022-25882, CVE-2024-27318).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features.network import FeatureNetwork, expect_shape, in_parts

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_AT_ONCE = 100


class Onnx(FeatureNetwork):
    """A graph of one float32 input [N, *shape] whose first output, [N, dim] or [N, dim, 1, 1], is the features."""

    num_classes = 0

    def __init__(self, session: InferenceSession, name: str, sha256: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.session, self.name, self.sha256, self.shape = session, name, sha256, shape
        self.dim = self._run(torch.zeros(2, *shape)).shape[1]

    def _run(self, x: Tensor) -> Tensor:
        asked = {self.session.get_inputs()[0].name: x.contiguous().numpy()}
        try:
            found = self.session.run([self.session.get_outputs()[0].name], asked)[0]
        except Exception as error:  # ONNX Runtime's errors share no type of their own
            raise RequestError(f"features {self.name}: ONNX Runtime fails with {_one_line(error)}") from None
        features = torch.from_numpy(found)
        if features.dim() == 4 and features.shape[2:] == (1, 1):
            features = features.flatten(1)
        if features.dim() != 2 or len(features) != len(x) or not features.is_floating_point():
            raise RequestError(
                f"features {self.name}: expected the first output to be floats of shape N×d or N×d×1×1, found "
                f"{str(features.dtype).removeprefix('torch.')} {'×'.join(map(str, features.shape))} for N = {len(x)}"
            )
        return features.float()

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """x [B, *shape] in [-1, 1] to features float32 [B, dim], on x's device."""
        expect_shape(self.name, self.shape, x)
        return in_parts(self._run, x.to("cpu", torch.float32), _AT_ONCE).to(x.device)


def load_onnx(path: Path, data: DataSpec) -> FeatureNetwork:
    """The network in an ONNX file, for some data: x [N, *data.shape] in [-1, 1] to its first output.

    Runs on the CPU with as many threads as torch. Raises `RequestError` without ONNX Runtime, and for a file that is
    not there, is not ONNX, keeps tensors elsewhere, or whose input or output does not fit.
    """
    said = f"--features {path}"
    try:
        import onnxruntime
    except ImportError:
        raise RequestError(f"{said}: ONNX Runtime is not installed; pip install sparring[onnx]") from None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{said}: cannot be read ({error.strerror})") from None
    try:
        elsewhere = _keeps_tensors_elsewhere(content)
    except (ValueError, IndexError):
        raise RequestError(f"{said}: not an ONNX file") from None
    if elsewhere:
        raise RequestError(f"{said}: keeps tensors in other files, which are not read; save it as one file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4  # what is wrong is said once, by the error below
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no type of their own
        raise RequestError(f"{said}: not a valid ONNX graph, {_one_line(error)}") from None
    _check_input(said, session, data)
    return Onnx(session, path.name, hashlib.sha256(content).hexdigest(), data.shape)


def _check_input(said: str, session: Any, data: DataSpec) -> None:
    inputs = session.get_inputs()
    wanted = f"expected one float input of shape N×{'×'.join(map(str, data.shape))} as {data.name} has"
    if len(inputs) != 1:
        raise RequestError(f"{said}: {wanted}, found {len(inputs)} inputs: {', '.join(i.name for i in inputs)}")
    found = inputs[0]
    if found.type != "tensor(float)":
        raise RequestError(f"{said}: {wanted}, found {found.type}")
    if not found.shape:  # of unknown rank
        return
    shape = "×".join(str(size) if isinstance(size, int) else "?" for size in found.shape)
    fits = len(found.shape) == 1 + len(data.shape) and all(
        size == have for size, have in zip(found.shape[1:], data.shape, strict=True) if isinstance(size, int)
    )
    if not fits:
        raise RequestError(f"{said}: {wanted}, found {shape}")
    if isinstance(found.shape[0], int):
        raise RequestError(f"{said}: {wanted}, found {shape}; export it with a dynamic batch dimension")


# Which fields of which message hold which messages, on the way to tensors (onnx.proto3).
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def _keeps_tensors_elsewhere(content: bytes) -> bool:
    """Whether a tensor of a model says where else its data lie. Raises `ValueError` or `IndexError` for other files."""
    graphs, left = 0, [("model", memoryview(content))]
    while left:
        kind, message = left.pop()
        graphs += kind == "graph"
        for field, value in _fields(message):
            if kind == "tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    return True
            elif field in _INSIDE[kind] and isinstance(value, memoryview):
                left.append((_INSIDE[kind][field], value))
    if not graphs:
        raise ValueError("no graph")
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message by number (https://protobuf.dev/programming-guides/encoding/)."""
    at = 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number of more than ten bytes")

    while at < len(message):
        field, wire = divmod(varint(), 8)
        if wire == 0:
            yield field, varint()
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire}")
        size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        if size > len(message) - at:
            raise ValueError("cut short")
        yield field, message[at : at + size]
        at += size


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
