"""Which checkpoint of a run is opened, and what is said of those that were passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparring.core.errors import RequestError
from sparring.core.files import DamagedError, write_sealed
from sparring.opening import no_larger_than_weights, open_checkpoint, open_run, refuse_links
from sparring.train.checkpoint import FORMAT, name_best, read_meta, save_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Checkpoints at 10 to 50 images; the best is at 20, and those at 40 and 10 follow."""
    for images in (10, 20, 30, 40, 50):
        meta = {"scores": {"leaders": [[20, 1.0], [40, 2.0], [10, 3.0]]}}
        save_checkpoint(tmp_path / "checkpoints", images, {"w": torch.full((2,), images)}, meta)
    name_best(tmp_path / "checkpoints", 20)
    return tmp_path


def spoil(run: Path, *images: int, suffix: str = ".safetensors") -> None:
    for each in images:
        path = run / "checkpoints" / f"{each:012d}{suffix}"
        path.write_bytes(path.read_bytes()[:-1])


def opened(run: Path, which: str) -> tuple[int, int]:
    """The images of what is opened, and how much is said."""
    found = open_checkpoint(run, which)
    assert found.tensors["w"].tolist() == [found.meta["images"]] * 2
    assert found.path.stem == f"{found.meta['images']:012d}"
    return found.meta["images"], len(found.notes)


def test_what_is_whole_is_opened_without_a_word(run: Path) -> None:
    assert [opened(run, which) for which in ("best", "last", "30", "000000000030")] == [
        (20, 0),
        (50, 0),
        (30, 0),
        (30, 0),
    ]


def test_before_a_damaged_last_comes_the_one_before(run: Path) -> None:
    spoil(run, 50)
    assert opened(run, "last") == (40, 2)
    spoil(run, 40)
    assert opened(run, "last") == (30, 3)


def test_after_a_damaged_best_comes_the_next_best(run: Path) -> None:
    spoil(run, 20)
    assert opened(run, "best") == (40, 2)
    spoil(run, 50, suffix=".json")  # what remembers the ranks: the one before it does too
    assert opened(run, "best") == (40, 2)
    spoil(run, 40)
    assert opened(run, "best") == (10, 3)
    spoil(run, 10)
    assert opened(run, "best") == (30, 5)


def test_a_best_that_is_not_named_is_the_one_that_the_newest_remembers(run: Path) -> None:
    (run / "checkpoints" / "best.json").write_bytes(b"{")
    assert opened(run, "best") == (20, 2)
    (run / "checkpoints" / "best.json").unlink()
    assert opened(run, "best") == (20, 0)
    (run / "checkpoints" / f"{20:012d}.json").unlink()
    (run / "checkpoints" / f"{20:012d}.safetensors").unlink()
    assert opened(run, "best") == (40, 0)
    name_best(run / "checkpoints", 20)  # gone, and still named
    assert opened(run, "best") == (40, 2)


def test_one_that_is_asked_for_by_its_images_is_that_or_none(run: Path) -> None:
    spoil(run, 30)
    with pytest.raises(DamagedError, match="000000000030"):
        open_checkpoint(run, "30")
    with pytest.raises(RequestError, match="expected best, last or one of 10, 20, 30, 40, 50"):
        open_checkpoint(run, "31")


def test_a_newer_format_is_not_passed_over(run: Path) -> None:
    path = run / "checkpoints" / f"{50:012d}.json"
    write_sealed(path, read_meta(path) | {"format": FORMAT + 1})
    for which in ("last", "best"):
        with pytest.raises(RequestError, match="or a newer one"):
            open_checkpoint(run, which)


def test_none_at_all_and_none_that_fits(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"w is int64 of shape \(2,\), expected .* is whole, 5 damaged; move"):
        open_checkpoint(run, "last", {"w": torch.zeros(3, dtype=torch.int64)})
    with pytest.raises(RequestError, match="has no checkpoint yet"):
        open_checkpoint(tmp_path / "empty", "last")


@pytest.mark.parametrize("stem", ["²", "9" * 5000, "12", "00000000001٣", "+10"])
def test_names_that_are_none_of_ours_are_no_checkpoints(run: Path, stem: str) -> None:
    write_sealed(run / "checkpoints" / "best.json", {"checkpoint": stem})
    if len(stem) < 200:
        (run / "checkpoints" / f"{stem}.json").write_text("{}")
    assert opened(run, "last") == (50, 0)
    assert opened(run, "best") == (20, 2)
    with pytest.raises(RequestError, match="expected best, last or one of 10, 20, 30, 40, 50"):
        open_checkpoint(run, stem)


def test_a_run_s_networks_have_no_more_numbers_than_its_largest_checkpoint_bytes(run: Path) -> None:
    size = max(path.stat().st_size for path in (run / "checkpoints").glob("*.safetensors"))
    with no_larger_than_weights(run):
        torch.nn.Linear(size, 1, bias=False)
    with pytest.raises(RequestError, match=f"more than {size} numbers"), no_larger_than_weights(run):
        torch.nn.Linear(size + 1, 1, bias=False)
    with pytest.raises(RequestError, match="has no checkpoint yet"), no_larger_than_weights(run / "checkpoints"):
        pass


@pytest.mark.parametrize("length", [None, 0, 3])
def test_where_all_weights_are_gone_the_recipe_is_not_to_blame(run: Path, length: int | None) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        if length is None:
            path.unlink()
        else:
            path.write_bytes(bytes(length))
    with pytest.raises(DamagedError, match="is whole, 5 damaged; move"), no_larger_than_weights(run):
        torch.nn.Linear(9, 9)


def test_while_the_first_checkpoint_is_written_there_is_none(tmp_path: Path) -> None:
    """Its tensors are there before its JSON is: a reader must not take that for damage."""
    path = save_checkpoint(tmp_path / "checkpoints", 10, {"w": torch.zeros(1)}, {"scores": {"leaders": []}})
    path.unlink()
    for which in ("last", "best", "10"):
        with pytest.raises(RequestError, match="has no checkpoint yet; train for longer, or resume it"):
            open_checkpoint(tmp_path, which)


def test_a_damaged_recipe_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"recipe\.json: not JSON .* put a copy of it in its place, or"):
        open_run(tmp_path)


def test_links_are_refused_where_a_run_would_write(run: Path) -> None:
    refuse_links(run)
    (run / "checkpoints" / "x.json").symlink_to(run / "checkpoints" / f"{10:012d}.json")
    with pytest.raises(RequestError, match=r"x\.json: a link"):
        refuse_links(run)
