"""Labels and other conditions as numbers beside a network's own."""

import pytest
import torch
from torch import nn

from sparring.core.errors import RequestError
from sparring.core.protocols import DataSpec
from sparring.networks.labels import beside, count, numbers, require, table, wider, with_condition

CLASSES = DataSpec(name="test", shape=(4,), num_classes=3)
VECTORS = DataSpec(name="test", shape=(4,), y_shape=(5,))
IMAGES = DataSpec(name="test", shape=(4,), y_shape=(2, 3, 4))
PLAIN = DataSpec(name="test", shape=(4,))


def test_classes_are_one_hot_and_other_conditions_as_they_are():
    like = torch.zeros(2, 1, dtype=torch.float64)
    found = numbers(torch.tensor([2, 0]), CLASSES, like)
    assert torch.equal(found, torch.tensor([[0, 0, 1], [1, 0, 0]], dtype=torch.float64))
    for data in (VECTORS, IMAGES):
        y = torch.randn(2, *data.y_shape)
        assert torch.equal(numbers(y, data, like), y.double())
    assert numbers(None, PLAIN, like).shape == (2, 0)
    assert [count(data) for data in (CLASSES, VECTORS, IMAGES, PLAIN)] == [3, 5, 24, 0]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_labels_are_integers_of_any_width(dtype):
    y = torch.tensor([2, 0], dtype=dtype)
    assert numbers(y, CLASSES, torch.zeros(2, 1)).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert table(CLASSES, 6)(require(y, CLASSES, torch.zeros(2, 1))).shape == (2, 6)


def test_labels_follow_vectors_and_become_channels_of_images():
    y = torch.tensor([2, 0])
    assert torch.equal(with_condition(torch.ones(2, 1), y, CLASSES), torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0]]))
    x = with_condition(torch.full((2, 1, 2, 2), 7.0), y, CLASSES)
    assert x.shape == (2, 4, 2, 2)
    assert torch.equal(x[:, 1:].amax((2, 3)), x[:, 1:].amin((2, 3)))
    assert torch.equal(x[:, :, 0, 0], torch.tensor([[7.0, 0, 0, 1], [7, 1, 0, 0]]))
    assert torch.equal(with_condition(x, None, PLAIN), x)


def test_vectors_follow_vectors_and_become_channels_of_images():
    y = torch.randn(2, 5)
    x = torch.randn(2, 3)
    assert torch.equal(with_condition(x, y, VECTORS), torch.cat([x, y], 1))
    found = with_condition(torch.randn(2, 3, 4, 6), y, VECTORS)
    for i in range(4):
        assert torch.equal(found[:, 3:, i, i], y)


def test_images_follow_vectors_row_by_row_and_images_by_the_pixel():
    y = torch.randn(2, 2, 3, 4)
    x = torch.randn(2, 3)
    assert torch.equal(with_condition(x, y, IMAGES)[1, 3:], torch.cat([*y[1, 0], *y[1, 1]]))
    assert torch.equal(with_condition(torch.randn(2, 1, 3, 4), y, IMAGES)[:, 1:], y)


def test_an_image_of_another_size_is_averaged_or_repeated():
    y = torch.arange(16.0).view(1, 1, 4, 4)
    halved = beside(torch.zeros(1, 1, 2, 2), y)[:, 1:]
    assert torch.equal(halved, torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    doubled = beside(torch.zeros(1, 1, 8, 8), y)[:, 1:]
    assert torch.equal(doubled, y.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("data", [CLASSES, VECTORS, IMAGES, PLAIN], ids=["class", "vector", "image", "none"])
@pytest.mark.parametrize("shape", [(7,), (2, 6, 5)], ids=str)
def test_wider_is_the_shape_of_what_is_made(data, shape):
    y = torch.zeros(2, dtype=torch.int64) if data.num_classes else torch.zeros(2, *data.y_shape)
    made = with_condition(torch.zeros(2, *shape), y, data)
    assert made.shape == (2, *wider(shape, data))


def test_a_table_has_a_row_for_every_class_and_is_linear_in_vectors():
    like = torch.zeros(2, 1)
    rows = table(CLASSES, 6)
    assert torch.equal(rows(require(torch.tensor([2, 1]), CLASSES, like)), rows.weight[[2, 1]])
    linear = table(VECTORS, 6)
    assert isinstance(linear, nn.Linear)
    y = torch.randn(2, 5, dtype=torch.float64)
    found = linear(require(y, VECTORS, like))
    torch.testing.assert_close(found, (y.float()[:, None] * linear.weight).sum(2))
    assert not linear(torch.zeros(1, 5)).any()


@pytest.mark.parametrize(
    ("y", "data", "message"),
    [
        (None, CLASSES, r"built for 3 classes: expected labels y \[B\], found None"),
        (torch.zeros(2, 5), CLASSES, r"expected integer labels y \[B\], found float32 of shape \[2, 5\]"),
        (torch.zeros(2), CLASSES, r"found float32 of shape \[2\]"),
        (None, VECTORS, r"conditions of shape \[5\]: expected y \[B, 5\], found None"),
        (torch.zeros(2, 4), VECTORS, r"expected y \[B, 5\], found shape \[2, 4\]"),
        (torch.zeros(2, 1, 3, 4), IMAGES, r"expected y \[B, 2, 3, 4\], found shape \[2, 1, 3, 4\]"),
    ],
)
def test_other_kinds_of_y_are_refused(y, data, message):
    with pytest.raises(RequestError, match=message):
        require(y, data, torch.zeros(2, 1))
