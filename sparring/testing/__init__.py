"""What every part of a game must fulfil, for our own parts and for yours: `python -m sparring.testing my_gan.py`.

Each check raises `AssertionError` with one sentence that names the part, what was found and what was expected. From a
test: `check_objective(MyObjective())`, `check_recipe(my_gan(source, data, budget))`.
"""

from sparring.testing.module import check_module, check_part
from sparring.testing.parts import check_constraint, check_generator_penalty, check_objective, check_penalty, check_show
from sparring.testing.play import check_game, check_recipe

__all__ = [
    "check_constraint",
    "check_game",
    "check_generator_penalty",
    "check_module",
    "check_objective",
    "check_part",
    "check_penalty",
    "check_recipe",
    "check_show",
]
