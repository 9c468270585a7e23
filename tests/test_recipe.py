import pytest

from vqkit.compare.command import parse
from vqkit.recipe import check_recipes
from vqkit.training.command import main as train

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9)
)
BAD = {
    "deep": ("systems: " + "[" * 20_000 + "]" * 20_000, "has more than 64 lists and mappings within each other"),
    "deep-block": ("".join(" " * i + "a:\n" for i in range(70)), "has more than 64 lists and mappings"),
    "laughs": (LAUGHS, "unfolds into more than 100000 items"),
    "empty-laughs": (LAUGHS.replace("[x, x, x, x, x, x, x, x, x, x]", "[]"), "unfolds into more than 100000 items"),
    "long": ("systems:\n" + "  a: VQ(dim, 4)\n" * 20_000, "is too long for a recipe: more than 262144 bytes"),
    "broken": ("a: [", "is not YAML: while parsing a flow node"),
    "bytes": ("a: \x00\x01", "is not YAML: "),
}


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_recipes_are_refused_at_once(recipe, bounded, name):
    text, message = BAD[name]
    path = recipe(text)
    with bounded(seconds=6, megabytes=128), pytest.raises(ValueError, match=message) as caught:
        check_recipes(["--config", path])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        check_recipes(["--listen", "3", f"--config={path}"])


def test_recipes_pass(recipe):
    check_recipes(["--config", recipe("a: &a {x: 1}\nb: *a\nc: [*a, *a]\n"), "--config"])
    check_recipes(["--config", "no such file", "name = VQ(dim, 4)"])


def test_compare_and_train_check_their_recipes(recipe, capsys):
    path = recipe(LAUGHS)
    with pytest.raises(ValueError, match="unfolds into more than"):
        parse(["--config", path])
    assert train(["--config", path]) == 2
    assert "unfolds into more than" in capsys.readouterr().err
