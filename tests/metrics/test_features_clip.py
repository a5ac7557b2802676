import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparring.metrics.features import clip, load

WIDTH, LAYERS, PATCH, GRID, OUT = 128, 2, 8, 3, 20


def original(seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a small image encoder by OpenAI's own names, exact in float16 as theirs are."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.1, mean: float = 0.0) -> Tensor:
        return (torch.randn(shape, generator=random) * scale + mean).half().float()

    found = {
        "visual.conv1.weight": draw(WIDTH, 3, PATCH, PATCH),
        "visual.class_embedding": draw(WIDTH),
        "visual.positional_embedding": draw(GRID**2 + 1, WIDTH),
        "visual.proj": draw(WIDTH, OUT),
        "text_projection": draw(4, OUT),
    }
    norms = ["visual.ln_pre", "visual.ln_post"]
    for i in range(LAYERS):
        block = f"visual.transformer.resblocks.{i}."
        norms += [f"{block}ln_1", f"{block}ln_2"]
        found |= {f"{block}attn.in_proj_weight": draw(3 * WIDTH, WIDTH), f"{block}attn.in_proj_bias": draw(3 * WIDTH)}
        layers = {"attn.out_proj": (WIDTH, WIDTH), "mlp.c_fc": (4 * WIDTH, WIDTH), "mlp.c_proj": (WIDTH, 4 * WIDTH)}
        for name, (outputs, inputs) in layers.items():
            found |= {f"{block}{name}.weight": draw(outputs, inputs), f"{block}{name}.bias": draw(outputs)}
    for name in norms:
        found |= {f"{name}.weight": draw(WIDTH, mean=1.0), f"{name}.bias": draw(WIDTH)}
    return found


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the names of transformers, as its script convert_clip_original_pytorch_to_hf.py brings them over."""
    vision = "vision_model."
    found = {
        f"{vision}embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        f"{vision}embeddings.class_embedding": weights["visual.class_embedding"],
        f"{vision}embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        f"{vision}embeddings.position_ids": torch.arange(GRID**2 + 1)[None],
        "visual_projection.weight": weights["visual.proj"].T.contiguous(),
        "text_model.encoder.layers.0.layer_norm1.weight": torch.ones(4),
        "logit_scale": torch.tensor(4.6),
    }
    for kind in ("weight", "bias"):
        found[f"{vision}pre_layrnorm.{kind}"] = weights[f"visual.ln_pre.{kind}"]
        found[f"{vision}post_layernorm.{kind}"] = weights[f"visual.ln_post.{kind}"]
        for i in range(LAYERS):
            new, old = f"{vision}encoder.layers.{i}.", f"visual.transformer.resblocks.{i}."
            q, k, v = weights[f"{old}attn.in_proj_{kind}"].chunk(3)
            found |= {f"{new}self_attn.{c}_proj.{kind}": t for c, t in zip("qkv", (q, k, v), strict=True)}
            found[f"{new}self_attn.out_proj.{kind}"] = weights[f"{old}attn.out_proj.{kind}"]
            found[f"{new}mlp.fc1.{kind}"] = weights[f"{old}mlp.c_fc.{kind}"]
            found[f"{new}mlp.fc2.{kind}"] = weights[f"{old}mlp.c_proj.{kind}"]
            found[f"{new}layer_norm1.{kind}"] = weights[f"{old}ln_1.{kind}"]
            found[f"{new}layer_norm2.{kind}"] = weights[f"{old}ln_2.{kind}"]
    return found


def torchscript(weights: dict[str, Tensor], path: Path) -> None:
    """The form of the original files, which torch-fidelity reads."""
    root = nn.Module()
    for name, tensor in weights.items():
        *parents, last = name.split(".")
        at = root
        for parent in parents:
            if parent not in dict(at.named_children()):
                at.add_module(parent, nn.Module())
            at = at.get_submodule(parent)
        at.register_parameter(last, nn.Parameter(tensor))
    torch.jit.script(root).save(path)


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_features_are_torch_fidelity_s(
    suffix: str, fidelity: Any, held: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = original()
    torchscript(weights, tmp_path / "original.pt")
    theirs = fidelity.FeatureExtractorCLIP(
        "clip-vit-b-32", ["clip"], feature_extractor_weights_path=tmp_path / "original.pt"
    )

    path = cache / "networks" / f"weights{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == ".bin":
        torch.save(converted(weights), path)
    else:
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous().clone() for name, tensor in converted(weights).items()}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = clip.WEIGHTS["clip-vit-b-32"]._replace(file=path.name, sha256=sha256)
    monkeypatch.setitem(clip.WEIGHTS, "clip-vit-b-32", known)

    pixels = torch.randint(256, (35, 3, 17, 30), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    x = pixels / 127.5 - 1
    network = load("clip", held(x))
    (expected,) = theirs(pixels)
    found = network(x)
    assert found.std(0).mean() > 0.05
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()
    assert network.classify(x)[1].shape == (35, 0)
    assert (network.name, network.dim, network.num_classes, network.sha256) == ("clip-vit-b-32", OUT, 0, sha256)
    assert network.resize == "bilinear 24×24, TensorFlow 1"
    grey = x[:2, :1]
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))
