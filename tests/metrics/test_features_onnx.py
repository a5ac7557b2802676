import hashlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.metrics.features import FeatureNetwork, load
from sparring.metrics.features.onnx import load_onnx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

DATA = DataSpec(name="made", shape=(2, 4, 4))
W = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
Write = Callable[..., Path]


def model(
    inputs: tuple[tuple[str, int, list[Any]], ...] = (("x", TensorProto.FLOAT, ["N", 2, 4, 4]),),
    nodes: tuple[Any, ...] | None = None,
    output: tuple[int, list[Any]] = (TensorProto.FLOAT, ["N", 3]),
    weights: Any = None,
) -> Any:
    """By default the mean of each of two channels, times W."""
    pooled = helper.make_node("GlobalAveragePool", ["x"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["flat"])
    nodes = nodes or (pooled, flat, helper.make_node("MatMul", ["flat", "w"], ["features"]))
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info("features", *output)],
        [weights or numpy_helper.from_array(W, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(made: Any, name: str = "made.onnx") -> Path:
        (tmp_path / name).write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return tmp_path / name

    return write


def test_the_first_output_is_the_features(write: Write, held: Any) -> None:
    path = write(model())
    x = torch.rand(230, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = load(str(path), held(x))
    assert isinstance(network, FeatureNetwork)
    assert torch.allclose(network(x), x.mean((2, 3)) @ torch.from_numpy(W), atol=1e-6)
    assert network.classify(x)[1].shape == (230, 0)
    assert (network.name, network.dim, network.num_classes) == ("made.onnx", 3, 0)
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(RequestError, match="expected samples of shape 2×4×4, found 2×5×5"):
        network(torch.zeros(2, 2, 5, 5))


def test_an_output_with_one_pixel_is_flattened(write: Write) -> None:
    path = write(model(nodes=(helper.make_node("GlobalAveragePool", ["x"], ["features"]),), output=(1, ["N", 2, 1, 1])))
    x = torch.rand(5, 2, 4, 4)
    network = load_onnx(path, DATA)
    assert network.dim == 2
    assert torch.allclose(network(x), x.mean((2, 3)))


def test_vectors_have_inputs_of_two_dimensions(write: Write) -> None:
    path = write(
        model((("flat", TensorProto.FLOAT, [None, 2]),), (helper.make_node("MatMul", ["flat", "w"], ["features"]),))
    )
    x = torch.rand(5, 2)
    assert torch.allclose(load_onnx(path, DataSpec(name="made", shape=(2,)))(x), x @ torch.from_numpy(W), atol=1e-6)


FLATTEN = helper.make_node("Flatten", ["x"], ["features"])
ADD = (helper.make_node("Add", ["x", "z"], ["sum"]), helper.make_node("Flatten", ["sum"], ["features"]))
X = ("x", TensorProto.FLOAT, ["N", 2, 4, 4])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            model((("x", TensorProto.FLOAT, ["N", 3, 4, 4]),), (FLATTEN,), (1, ["N", 48])),
            r"N×2×4×4 as made has, found \?×3×4×4",
        ),
        (model((("x", TensorProto.FLOAT, ["N", 2, 5, 4]),)), r"N×2×4×4 as made has, found \?×2×5×4"),
        (model((("x", TensorProto.FLOAT, ["N", 2, 4]),)), r"N×2×4×4 as made has, found \?×2×4"),
        (model((("x", TensorProto.FLOAT, [1, 2, 4, 4]),)), "found 1×2×4×4; export it with a dynamic batch dimension"),
        (model((("x", TensorProto.DOUBLE, ["N", 2, 4, 4]),), (FLATTEN,), (11, ["N", 32])), r"found tensor\(double\)"),
        (model((("x", TensorProto.UINT8, ["N", 2, 4, 4]),), (FLATTEN,), (2, ["N", 32])), r"found tensor\(uint8\)"),
        (model((X, ("z", TensorProto.FLOAT, ["N", 2, 4, 4])), ADD, (1, ["N", 32])), "found 2 inputs: x, z"),
        (
            model(nodes=(helper.make_node("Identity", ["x"], ["features"]),), output=(1, ["N", 2, 4, 4])),
            "first output to be floats of shape N×d or N×d×1×1, found float32 2×2×4×4 for N = 2",
        ),
        (
            model(nodes=(helper.make_node("Flatten", ["x"], ["features"], axis=0),), output=(1, [1, "N"])),
            "first output to be floats of shape N×d or N×d×1×1, found float32 1×64 for N = 2",
        ),
        (model(nodes=(helper.make_node("Nonsense", ["x"], ["features"]),)), "not a valid ONNX graph, .*Nonsense"),
        (b"", "not an ONNX file"),
        (b"PK\x03\x04 something else", "not an ONNX file"),
        (model().SerializeToString()[:-7], "not an ONNX file"),
    ],
)
def test_what_does_not_fit_says_why_in_one_line(made: Any, message: str, write: Write) -> None:
    with pytest.raises(RequestError, match=message) as error:
        load_onnx(write(made), DATA)
    assert "\n" not in str(error.value)
    assert "made.onnx" in str(error.value)


def external(name: str = "w") -> Any:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    return tensor


def in_a_branch() -> Any:
    """A tensor kept elsewhere, in a constant of a subgraph."""
    constant = helper.make_node("Constant", [], ["v"], value=external("v"))
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("v", 1, [2, 3])])
    true = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    return model(nodes=(true, helper.make_node("If", ["c"], ["features"], then_branch=branch, else_branch=branch)))


def in_one_of_several_branches() -> Any:
    node = helper.make_node("Several", ["x"], ["features"], domain="made")
    branch = helper.make_graph([], "b", [], [], [external("v")])
    node.attribute.append(helper.make_attribute("branches", [branch]))
    return model(nodes=(node,))


@pytest.mark.parametrize(
    "made",
    [model(weights=external()), in_a_branch(), in_one_of_several_branches()],
    ids=["weights", "branch", "branches"],
)
def test_tensors_in_other_files_are_refused_before_anything_is_run(
    made: Any, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the file was run")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    (tmp_path / "secret.bin").write_bytes(W.tobytes())
    with pytest.raises(RequestError, match="keeps tensors in other files, which are not read; save it as one file"):
        load_onnx(write(made), DATA)


def test_without_the_extra_or_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"none.onnx: cannot be read \(No such file"):
        load_onnx(tmp_path / "none.onnx", DATA)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r"ONNX Runtime is not installed; pip install sparring\[onnx\]"):
        load_onnx(write(model()), DATA)


def test_what_is_written_here_is_onnx(write: Write) -> None:
    onnx.checker.check_model(onnx.load(write(model())))
