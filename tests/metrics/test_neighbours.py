"""Nearest neighbours against scikit-learn's brute force, on real digits, whatever the chunks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sparring.core.errors import RequestError
from sparring.metrics.features import PCA, Digits8, FeatureNetwork
from sparring.metrics.neighbours import nearest_in


class Values(FeatureNetwork):
    """The values themselves."""

    name, sha256, dim, num_classes = "values", "", 2, 0

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.parametrize("chunk", [7, 400, 5000])
def test_as_brute_force(held: Callable, digits: tuple[Tensor, Tensor], chunk: int) -> None:
    source, x = held(digits[0][:900]), digits[0][1500:1512]
    network = PCA.fit(source, dim=16)
    found = nearest_in(network, source, x, 5, chunk=chunk)
    brute = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(network(source.x).double().numpy())
    distances, index = brute.kneighbors(network(x).double().numpy())
    np.testing.assert_array_equal(found.positions.numpy(), index)
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-5)


def test_copies_have_no_distance_and_are_found_wherever_they_lie(held: Callable, digits: tuple[Tensor, Tensor]) -> None:
    source = held(digits[0][:500])
    index = torch.tensor([0, 123, 250, 499])
    found = nearest_in(Digits8(), source, source.x[index], 2, chunk=125)
    assert found.positions[:, 0].tolist() == index.tolist()
    assert found.distances[:, 0].max() < 1e-5
    assert found.distances[:, 1].min() > 0.01


def test_equal_distances_come_in_the_order_of_the_source(held: Callable) -> None:
    source = held(torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.0, 0.0], [-0.5, 0.0], [0.0, -0.5]]))
    found = nearest_in(Values(), source, torch.zeros(1, 2), 5, chunk=2)
    assert found.positions.tolist() == [[2, 0, 1, 3, 4]]
    assert found.distances.tolist() == [[0.0, 0.5, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 6), (0, 1)])
def test_too_few_of_either_are_refused(held: Callable, n: int, k: int) -> None:
    with pytest.raises(RequestError, match="expected samples and k from 1 to the 5 of made"):
        nearest_in(Values(), held(torch.zeros(5, 2)), torch.zeros(n, 2), k)


def test_samples_that_are_not_finite_are_refused(held: Callable) -> None:
    with pytest.raises(RequestError, match="1 of 1 samples have features that are not finite"):
        nearest_in(Values(), held(torch.zeros(5, 2)), torch.full((1, 2), torch.nan), 1)
