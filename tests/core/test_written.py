"""Specs as people write them."""

import pytest

from sparring.core.errors import RequestError
from sparring.games import (
    ADA,
    R1,
    R2,
    Adversarial,
    Balanced,
    Consistency,
    DiffAugment,
    Hinge,
    Replay,
    SoftmaxGAN,
)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("objective", "Hinge", Hinge()),
        ("objective", " SoftmaxGAN() ", SoftmaxGAN()),
        ("generator_objective", "Hinge", Hinge()),
        ("generator_objective", "null", None),
        ("penalties", "R1(weight=.5, every=8), R2", (R1(weight=0.5, every=8), R2())),
        ("penalties", "[R2]", (R2(),)),
        ("penalties", "R1(final=.01)", (R1(final=0.01),)),
        ("penalties", "[]", ()),
        (
            "penalties",
            "Consistency(show=DiffAugment(policy=('cutout',)))",
            (Consistency(show=(DiffAugment(policy=("cutout",)),)),),
        ),
        ("history", "Replay(size=10)", Replay(size=10)),
        ("moves", "Balanced(low=.6)", Balanced(low=0.6)),
        ("show", "ADA(paired=true)", (ADA(paired=True),)),
        ("show", "ADA(paired=True)", (ADA(paired=True),)),
        ("d_steps", "3", 3),
    ],
)
def test_what_is_meant(field: str, text: str, value: object) -> None:
    assert getattr(Adversarial().with_path(field, text), field) == value


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("objective", "hinge", "--set objective: there is no 'hinge' here, did you mean 'Hinge'?"),
        ("objective", "R1", "--set objective: there is no 'R1' here"),
        ("objective", "Hinge, Hinge", "--set objective: expected one of BEGAN"),
        ("objective", "1 +", "--set objective: expected JSON, or parts such as BEGAN"),
        ("penalties", "R1(w=2)", "R1 has no 'w', choose from every, final, until, weight"),
        ("penalties", "R1(2)", "write what R1 takes by name, such as R1"),
        ("penalties", "R1(weight='much')", "--set penalties: R1.weight: expected float, found 'much'"),
        ("penalties", "R1(weight=-1)", "R1: expected weights >= 0"),
        ("penalties", "R1(**{})", "write what R1 takes by name"),
        ("penalties", "Consistency", "Consistency cannot be made"),
        ("show", "__import__('os').system('x')", 'there is no "__import__'),
        ("show", "[x for x in ()]", "is no name, number or text"),
        ("history", "Replay(size=open('x'))", "there is no 'open' here, nothing fits"),
    ],
)
def test_what_can_t_be_meant_is_said_and_never_run(field: str, text: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        Adversarial().with_path(field, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *[("penalties", text) for text in ("\udcff", "R1\0", "(" * 3000, "-" * 3000 + "1", "{[]}", "a" + ".b" * 3000)],
        *[
            ("d_steps", "1" * 5000),
            ("penalties", f"R1(weight=1{'0' * 400})"),
            ("d_steps", "[" * 3000),
            ("penalties.²", "R1"),
        ],
    ],
    ids=lambda text: text[:9].encode("unicode_escape").decode(),
)
def test_no_text_of_any_depth_or_length_is_more_than_refused(path: str, text: str) -> None:
    with pytest.raises(RequestError, match=f"--set {path}: "):
        Adversarial(penalties=(R1(),)).with_path(path, text)


def test_an_item_of_a_list_is_read_as_the_list_would() -> None:
    game = Adversarial(penalties=(R1(), R2()))
    assert game.with_path("penalties.1", "R1(weight=3)").penalties == (R1(), R1(weight=3.0))
    assert game.with_path("penalties.1.weight", "3").penalties == (R1(), R2(weight=3.0))
    for text in ("", "5", "null", "Hinge", '"R1"'):
        with pytest.raises(RequestError, match=r"--set penalties\.1: "):
            game.with_path("penalties.1", text)
    show = Adversarial(show=(DiffAugment(policy=("colour", "translation")),))
    assert show.with_path("show.0.policy.1", "cutout").show == (DiffAugment(policy=("colour", "cutout")),)
