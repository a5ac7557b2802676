from typing import Any

import pytest
import torch
from sklearn import decomposition
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.features.pca import PCA


def test_principal_components_are_those_of_another_implementation(digits: tuple[Tensor, Tensor], held: Any) -> None:
    x, _ = digits
    found = PCA.fit(held(x), dim=10)
    reference = decomposition.PCA(10, svd_solver="full").fit(x.flatten(1).double().numpy())
    cosines = (found.components.double() * torch.from_numpy(reference.components_)).sum(1)
    assert torch.allclose(cosines.abs(), torch.ones(10, dtype=torch.float64), atol=1e-5)
    assert (found.components.gather(1, found.components.abs().argmax(1, keepdim=True)) > 0).all()
    variance = found(x).double().var(0)
    assert torch.allclose(variance, torch.from_numpy(reference.explained_variance_), rtol=1e-4)
    assert found.name == "pca10-pixels"
    assert found.classify(x)[1].shape == (1797, 0)


def test_large_pictures_are_averaged_down_and_the_name_says_so(held: Any) -> None:
    x = torch.rand(80, 3, 24, 41) * 2 - 1
    found = PCA.fit(held(x))
    assert (found.name, found.dim) == ("pca64-pixels-pool2", 64)
    blocks = x[:, :, :, :40].unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    pooled = torch.cat([blocks, x[:, :, :, 40:].unfold(2, 2, 2).mean(-1)], 3).flatten(1)
    assert torch.allclose(found(x), (pooled - pooled.mean(0)) @ found.components.T, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "name"), [((2,), "pca2-values"), ((3000,), "pca19-values-pool3"), ((1, 5, 7), "pca19-pixels")]
)
def test_components_of_few_samples_and_of_vectors(shape: tuple[int, ...], name: str, held: Any) -> None:
    source = held(torch.rand(20, *shape) * 2 - 1)
    found = PCA.fit(source)
    assert found.name == name
    assert found(source.x).shape == (20, found.dim)
    with pytest.raises(RequestError, match="found 9; choose other features"):
        found(torch.zeros(2, 9))


def test_components_are_fitted_the_same_way_twice(digits: tuple[Tensor, Tensor], held: Any) -> None:
    x, _ = digits
    a, b = PCA.fit(held(x)), PCA.fit(held(x))
    assert a.sha256 == b.sha256
    assert PCA.fit(held(x[:-1])).sha256 != a.sha256
