"""Every YAML recipe says with which command it runs, and names what exists."""

from pathlib import Path

import pytest

from vqkit.compare.codebooks import usage_of
from vqkit.compare.command import parse, rates
from vqkit.training.command import build_parser

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


def run_by(command):
    return [path for path in RECIPES if f" {command} --config recipes/{path.name}" in path.read_text()]


def test_every_recipe_names_its_command():
    assert sorted(run_by("train") + run_by("pretrain") + run_by("compare")) == RECIPES


@pytest.mark.parametrize("recipe", run_by("train") + run_by("pretrain"), ids=lambda path: path.name)
def test_trainings_name_arguments_that_exist(recipe):
    config = build_parser().parse_args(["--config", str(recipe)])
    assert config.folder == f"runs/{recipe.stem}"
    assert recipe.read_text().startswith("# ")


@pytest.mark.parametrize("recipe", run_by("compare"), ids=lambda path: path.name)
def test_comparisons_build_every_system(recipe):
    what, out = parse(["--config", str(recipe)])
    assert str(out) == f"runs/{recipe.stem}"
    assert list(rates(what)) == list(what.systems)
    for name in what.systems:
        usage_of(what.quantizer(name))  # has alphabets that can be counted
    assert set(what.repeat_only) <= set(what.systems)
