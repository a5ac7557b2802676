import hashlib
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sparring.core.errors import RequestError
from sparring.metrics.features import inception, load
from sparring.metrics.features.inception import Inception
from sparring.metrics.frechet import frechet_distance
from sparring.metrics.inception_score import inception_scores
from sparring.metrics.kernel import mmd2
from sparring.metrics.manifold import precision_recall
from sparring.metrics.summary import moments

N = 9
GAIN = 1.4  # of random layers: neither fades nor explodes through some forty of them


class Images(Dataset[Tensor]):
    """uint8 [3, H, W], as torch-fidelity reads them."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]


def random_weights(shapes: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Of that names and shapes, so that what goes in still shows in what comes out."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, like in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        elif like.dim() > 1:
            found[name] = torch.randn(like.shape, generator=random) * (GAIN / like[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            found[name] = 1 + torch.rand(like.shape, generator=random)
        else:
            found[name] = torch.randn(like.shape, generator=random) * 0.1
    found["fc.weight"] *= 1.5
    return found


@pytest.fixture
def official(fidelity: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of random weights in the form of the published one, where a download would be."""
    with torch.device("meta"):
        monkeypatch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {}
        )
        monkeypatch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        theirs = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    monkeypatch.undo()
    monkeypatch.setenv("SPARRING_CACHE", str(cache))
    path = cache / "networks" / inception.WEIGHTS.file
    path.parent.mkdir(parents=True)
    torch.save(random_weights(theirs.state_dict()), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "WEIGHTS", inception.WEIGHTS._replace(sha256=sha256))
    return path


def test_everything_agrees_with_torch_fidelity(official: Path, fidelity: Any, held: Any) -> None:
    """Features, and the metrics in them that its `calculate_metrics` finds for the same images.

    Its Fréchet distance takes the roots of the eigenvalues of a product of covariances, which is accurate only where
    these have full rank: so it is compared on the first eight features.
    """

    class AndFirst(fidelity.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        kept: ClassVar[dict[str, list[Tensor]]] = {"2048": [], "logits_unbiased": []}

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            wanted, self.features_list = self.features_list, ["2048", "logits_unbiased"]
            features, logits = super().forward(x)
            self.features_list = wanted
            self.kept["2048"].append(features)
            self.kept["logits_unbiased"].append(logits)
            found = {"2048": features, "logits_unbiased": logits, "first": features[:, :8]}
            return tuple(found[name] for name in wanted)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "2048", "logits_unbiased", "first"

    fidelity.register_feature_extractor("and-first", AndFirst)
    random = torch.Generator().manual_seed(1)
    low = torch.rand(2 * N, 3, 5, 6, generator=random)
    images = torch.nn.functional.interpolate(low, (20, 25), mode="nearest")
    images[:N] = images[:N] * 0.8 + 0.1 * torch.rand(N, 3, 20, 25, generator=random)
    pixels = (images * 255).round().to(torch.uint8)
    theirs = fidelity.calculate_metrics(
        input1=Images(pixels[:N]),
        input2=Images(pixels[N:]),
        feature_extractor="and-first",
        feature_extractor_weights_path=str(official),
        feature_layer_isc="logits_unbiased",
        feature_layer_fid="first",
        feature_layer_kid="2048",
        feature_layer_prc="2048",
        cuda=False,
        batch_size=N,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        isc_splits=1,
        kid_subsets=1,
        kid_subset_size=N,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )

    x = pixels / 127.5 - 1
    network = load("inception", held(x))
    features, probabilities = network.classify(x)
    expected = torch.cat(AndFirst.kept["2048"])
    assert features.std() > 0.01
    assert (features - expected).abs().max() < 1e-6 * expected.abs().max()
    read = torch.cat(AndFirst.kept["logits_unbiased"]).softmax(1)
    assert torch.allclose(probabilities, read, rtol=3e-5, atol=1e-8)

    fake, real = features[:N], features[N:]
    found = {
        "inception_score_mean": inception_scores(probabilities[:N], 1).item(),
        "frechet_inception_distance": frechet_distance(*moments(fake[:, :8]), *moments(real[:, :8])),
        "kernel_inception_distance_mean": mmd2(fake, real),
    }
    found["precision"], found["recall"] = (share.value for share in precision_recall(fake, real))
    assert found["inception_score_mean"] > 1.01
    assert 0 < found["precision"] < 1
    for name, value in found.items():
        assert value == pytest.approx(theirs[name], rel=1e-6), name


def test_grey_is_repeated_and_other_data_refused(official: Path, held: Any) -> None:
    before = torch.get_rng_state()
    network = load("inception-v3-compat", held(torch.zeros(5, 1, 8, 8)))
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(2, 1, 8, 8) * 2 - 1
    assert torch.equal(network(x[:1]), network(x[:1].repeat(1, 3, 1, 1)))
    assert (network.name, network.dim, network.num_classes) == ("inception-v3-compat", 2048, 1008)
    assert network.resize == "bilinear 299×299, TensorFlow 1"
    assert network.sha256 == hashlib.sha256(official.read_bytes()).hexdigest()
    for wrong, said in (((2, 2, 8, 8), "2×8×8"), ((2, 64), "64")):
        with pytest.raises(RequestError, match=f"expected grey or RGB images, found samples of shape {said};"):
            network(torch.zeros(wrong))


def test_the_published_file_is_the_one_that_others_check() -> None:
    assert inception.WEIGHTS.sha256.startswith("6726825d")  # as the file's name says
    assert inception.WEIGHTS.url.endswith(inception.WEIGHTS.file)
    assert Inception.name == "inception-v3-compat"
