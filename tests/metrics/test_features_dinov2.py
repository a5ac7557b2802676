import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.metrics.features import dinov2, load
from sparring.metrics.features.dinov2 import Dinov2

WIDTH, LAYERS, PATCH, GRID = 128, 2, 14, 37


def official(patch: int = PATCH, grid: int = GRID) -> dict[str, Tensor]:
    """Weights of a small network by the names of the authors' files; waves, so that they are the same everywhere."""
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + grid**2, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, patch, patch),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for i in range(LAYERS):
        block = f"blocks.{i}."
        layers = {
            "attn.qkv": (3 * WIDTH, WIDTH),
            "attn.proj": (WIDTH, WIDTH),
            "mlp.fc1": (4 * WIDTH, WIDTH),
            "mlp.fc2": (WIDTH, 4 * WIDTH),
            "norm1": (WIDTH,),
            "norm2": (WIDTH,),
        }
        for name, shape in layers.items():
            shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        shapes |= {f"{block}ls1.gamma": (WIDTH,), f"{block}ls2.gamma": (WIDTH,)}
    found = {}
    for j, (name, shape) in enumerate(shapes.items()):
        n = torch.Size(shape).numel()
        wave = torch.sin(torch.arange(n, dtype=torch.float64) ** 1.5 * 0.37 + j) * 0.1
        one = name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma"))
        found[name] = (wave + (1.0 if one else 0.0)).float().view(shape)
    return found


def reference(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The same from torch's own layers; the scale of each branch is put in afterwards, as a hook."""
    x = F.conv2d(images, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], PATCH)
    x = torch.cat([weights["cls_token"].expand(len(x), -1, -1), x.flatten(2).mT], 1)
    grid = weights["pos_embed"][:, 1:].view(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    side = images.shape[-1] // PATCH
    scale = (side + 0.1) / GRID
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic").permute(0, 2, 3, 1).flatten(1, 2)
    x = x + torch.cat([weights["pos_embed"][:, :1], grid], 1)
    for i in range(LAYERS):
        layer = nn.TransformerEncoderLayer(
            WIDTH, WIDTH // 64, 4 * WIDTH, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        block = {name.removeprefix(f"blocks.{i}."): t for name, t in weights.items() if name.startswith(f"blocks.{i}.")}
        names = {"attn.qkv.": "self_attn.in_proj_", "attn.proj.": "self_attn.out_proj.", "mlp.fc1.": "linear1."}
        names |= {"mlp.fc2.": "linear2.", "norm1.": "norm1.", "norm2.": "norm2."}
        state = {new + kind: block[old + kind] for old, new in names.items() for kind in ("weight", "bias")}
        layer.load_state_dict(state)
        layer.dropout1.register_forward_hook(lambda _, __, found, gamma=block["ls1.gamma"]: found * gamma)
        layer.dropout2.register_forward_hook(lambda _, __, found, gamma=block["ls2.gamma"]: found * gamma)
        x = layer.train()(x)  # with no dropout; the fused path of evaluation passes the hooks by
    return F.layer_norm(x, (WIDTH,), weights["norm.weight"], weights["norm.bias"], 1e-6)[:, 0]


@pytest.fixture
def published(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The weights above where a download would be; their hash."""
    path = cache / "networks" / "small.pth"
    path.parent.mkdir(parents=True)
    torch.save(official(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = dinov2.WEIGHTS["dinov2-vit-l-14"]._replace(file=path.name, sha256=sha256)
    monkeypatch.setitem(dinov2.WEIGHTS, "dinov2-vit-l-14", known)
    return sha256


def wave(*shape: int) -> Tensor:
    """8-bit pixels."""
    n = torch.Size(shape).numel()
    return (torch.sin(torch.arange(n, dtype=torch.float64) ** 1.3) * 127.5 + 127.5).round().float().view(shape)


@torch.no_grad()
def test_features_are_those_of_torch_s_own_layers(published: str, held: Any) -> None:
    pixels = wave(3, 3, 224, 224)
    x = pixels / 127.5 - 1
    network = load("dinov2", held(x))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = reference(official(), (pixels / 255 - mean) / std)
    found = network(x)
    assert found.std(0).mean() > 0.01
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (network.name, network.dim, network.num_classes, network.sha256) == ("dinov2-vit-l-14", WIDTH, 0, published)
    assert network.classify(x)[1].shape == (3, 0)


def test_small_images_are_enlarged_as_torch_fidelity_does(published: str, held: Any, fidelity: Any) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    pixels = wave(2, 3, 20, 33)
    network = load("dinov2", held(pixels / 127.5 - 1))
    assert network.resize == "bilinear 224×224, TensorFlow 1"
    large = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(224, 224), align_corners=False)
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = reference(official(), (large - mean) / std)
    assert (network(pixels / 127.5 - 1) - expected).abs().max() < 1e-5 * expected.abs().max()
    grey = pixels[:, :1] / 127.5 - 1
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_the_authors_network_gives_these_numbers() -> None:
    """facebookresearch/dinov2 at commit b8931f7, `DinoVisionTransformer` with these weights."""
    network = Dinov2("small", official(), "")
    found = network(wave(2, 3, 224, 224) / 127.5 - 1)
    expected = [[0.28328854, 0.08045696, 0.58858591, 1.23808765], [0.82223719, -0.09694064, 0.94011414, 1.30373347]]
    assert torch.allclose(found[:, :4], torch.tensor(expected), atol=1e-5)
