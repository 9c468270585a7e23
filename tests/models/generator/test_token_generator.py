"""The generator is a probability distribution, samples from it, and continues, repeats and saves what it says."""

import itertools

import pytest
import torch

from vqkit.models import TokenGenerator
from vqkit.models.generator.patterns import Delay, Flat, Parallel
from vqkit.models.generator.sampling import Sampler, Sampling

CASES = {
    "parallel": (Parallel(), 0),
    "delay": (Delay(), 0),
    "flat": (Flat(), 0),
    "depth": (Parallel(), 1),
    "delay with depth": (Delay([0, 0, 1]), 1),
}


def make(case="delay", sizes=(3, 2, 4), **options):
    pattern, depth = CASES[case]
    torch.manual_seed(0)
    settings = {"width": 16, "layers": 2, "heads": 2, "depth_layers": depth, "window": 8} | options
    generator = TokenGenerator(sizes, pattern, **settings).eval()
    with torch.no_grad():  # far from equal probabilities
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


def random_codes(batch, frames, sizes=(3, 2, 4)):
    return torch.stack([torch.randint(0, size, (batch, frames)) for size in sizes], dim=-1)


@pytest.mark.parametrize("case", CASES)
def test_probabilities_of_all_streams_sum_to_one(case):
    generator = make(case, sizes=(3, 2, 2))
    frame = list(itertools.product(range(3), range(2), range(2)))
    every = torch.tensor(list(itertools.product(frame, frame)))
    with torch.no_grad():
        total = (-generator(every).double().sum(dim=(1, 2))).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_samples_are_as_frequent_as_they_are_probable(case):
    """Sampling, position by position from a cache, and the likelihood, all at once, are one model."""
    generator = make(case, sizes=(3, 2, 2))
    frame = list(itertools.product(range(3), range(2), range(2)))
    every = torch.tensor(list(itertools.product(frame, frame)))
    with torch.no_grad():
        chances = (-generator(every).double().sum(dim=(1, 2))).exp()
    draws = 6000
    samples = generator.generate(2, batch=draws, seed=1)
    weights = torch.tensor([4, 2, 1])
    key = lambda codes: ((codes * weights).sum(-1) * torch.tensor([12, 1])).sum(-1)  # noqa: E731
    counts = torch.zeros(12 * 12 + 12).index_add(0, key(samples), torch.ones(draws))
    found = counts[key(every)] / draws
    error = (found - chances).abs().sum().item() / 2  # total variation; about 0.03 is expected of so many draws
    assert error < 0.07, error


@pytest.mark.parametrize("case", CASES)
def test_a_code_depends_on_earlier_codes_only(case):
    generator, codes = make(case), random_codes(1, 6)
    slots = generator.pattern.slots(6, 3)
    with torch.no_grad():
        before = generator(codes)
    for frame, code in itertools.product((0, 3, 5), range(3)):
        changed = codes.clone()
        changed[0, frame, code] = (changed[0, frame, code] + 1) % generator.code_sizes[code]
        with torch.no_grad():
            after = generator(changed)
        place = (slots[:, code] == frame).nonzero()[0, 0]
        for other in range(3):
            position = torch.stack([(slots[:, other] == t).nonzero()[0, 0] for t in range(6)])
            same = after[0, :, other] == before[0, :, other]
            earlier = (
                position < place if not CASES[case][1] else (position < place) | ((position == place) & (other < code))
            )
            linear_sibling = (position == place) & (other != code) if not CASES[case][1] else torch.zeros(6, dtype=bool)
            assert same[earlier | linear_sibling].all()
        later = (after - before)[0][frame + 1 :].abs().sum() if frame < 5 else 1
        assert later > 0


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("case", CASES)
def test_cache_changes_nothing(case, guidance):
    generator = make(case, classes=["a", "b"], condition_dim=3, grid=(2, 3))
    condition = torch.randn(2, 21, 3, generator=torch.Generator().manual_seed(2))
    options = {"classes": torch.tensor([0, 1]), "condition": condition, "guidance": guidance, "seed": 4}
    with_cache, without = (generator.generate(21, cache=cache, **options) for cache in (True, False))
    assert torch.equal(with_cache, without)  # and in windows: 21 frames of 8
    assert not torch.equal(with_cache, generator.generate(21, **options | {"seed": 5}))


@pytest.mark.parametrize("case", CASES)
def test_a_prefix_is_kept_and_continued(case):
    generator, prefix = make(case), random_codes(2, 5)
    for steps in (5, 8, 30):
        made = generator.generate(steps, prefix=prefix, seed=3)
        assert torch.equal(made[:, :5], prefix)
        assert made.shape == (2, steps, 3)
        assert (made >= 0).all()
    many = prefix.repeat(20, 1, 1)
    one, other = (generator.generate(8, prefix=given, seed=1) for given in (many, (many + 1) % torch.tensor([3, 2, 4])))
    assert not torch.equal(one[:, 5:], other[:, 5:])


def test_a_greedy_continuation_is_the_most_probable_code():
    generator, prefix = make("flat"), random_codes(1, 3)
    made = generator.generate(4, prefix=prefix, temperature=0)
    every = torch.tensor(list(itertools.product(range(3), range(2), range(4))))
    streams = torch.cat([prefix.expand(24, -1, -1), every[:, None]], dim=1)
    with torch.no_grad():
        nats = generator(streams)[:, 3]
    first = nats[:, 0].argmin()
    assert made[0, 3, 0] == every[first, 0]


def test_long_streams_see_half_a_window():
    """What comes after a window depends on the half before it and on nothing older."""
    generator = make("delay", window=8)
    prefix = random_codes(1, 8).repeat(20, 1, 1)
    changed = prefix.clone()
    changed[:, :4] = (changed[:, :4] + 1) % torch.tensor([3, 2, 4])
    one, other = (generator.generate(12, prefix=codes, seed=1) for codes in (prefix, changed))
    assert torch.equal(one[:, 8:], other[:, 8:])
    changed = prefix.clone()
    changed[:, 4] = (changed[:, 4] + 1) % torch.tensor([3, 2, 4])  # the oldest frame of that half
    assert not torch.equal(one[:, 8:], generator.generate(12, prefix=changed, seed=1)[:, 8:])


def test_windows_overlap_by_half(monkeypatch):
    generator, seen = make("delay", window=8), []
    context = generator.context
    monkeypatch.setattr(
        generator,
        "context",
        lambda slots, batch, first, *rest: seen.append(first) or context(slots, batch, first, *rest),
    )
    generator.generate(19)
    assert sorted(set(seen)) == [0, 4, 8, 12]  # frames 0 … 7, 4 … 11, 8 … 15, 12 … 18
    seen.clear()
    generator.generate(19, prefix=random_codes(1, 11))
    assert sorted(set(seen)) == [7, 11]


def test_progress_grows_to_one():
    shares = []
    make().generate(20, watch=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 20


def test_class_and_condition_matter_and_guidance_strengthens_them():
    generator = make("flat", classes=["a", "b"], condition_dim=2)
    codes, condition = random_codes(2, 4), torch.randn(2, 4, 2)
    with torch.no_grad():
        plain = generator(codes)
        of_a, of_b = (generator(codes, classes=torch.tensor([c, c])) for c in (0, 1))
        under = generator(codes, condition=condition)
        assert torch.equal(generator(codes, classes=torch.tensor([-1, -1])), plain)
        changed = condition.clone()
        changed[:, 3] += 1
        later = generator(codes, condition=changed)
    assert not torch.allclose(of_a, of_b)
    assert not torch.allclose(under, plain)
    assert torch.equal(later[:, :3], under[:, :3])  # the condition of a frame reaches no earlier one
    assert not torch.allclose(later[:, 3], under[:, 3])
    assert torch.equal(
        generator.generate(6, classes=torch.tensor([0, 1]), guidance=0, seed=2), generator.generate(6, batch=2, seed=2)
    )


def test_training_hides_conditions_with_the_dropout_asked_for():
    generator = make("delay", classes=["a", "b"], condition_dropout=1.0).train()
    codes = random_codes(2, 4)
    with torch.no_grad():
        assert torch.equal(generator(codes, classes=torch.tensor([0, 1])), generator.eval()(codes))


@pytest.mark.parametrize("case", ["parallel", "flat", "depth"])
def test_missing_codes_count_nothing(case):
    generator, codes = make(case), random_codes(2, 6)
    codes[1, 4:] = -1
    with torch.no_grad():
        nats = generator(codes)
        short = generator(codes[1:, :4])
    assert (nats[1, 4:] == 0).all()
    assert (nats[0] > 0).all()
    torch.testing.assert_close(nats[1:, :4], short)


def test_settings_of_sampling():
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(4000, -1)
    counts = torch.bincount(Sampler(Sampling(top_k=2))(logits), minlength=4)
    assert counts[:2].sum() == 0
    assert counts[3] / counts.sum() == pytest.approx(0.731, abs=0.03)  # e / (1 + e)
    assert torch.bincount(Sampler(Sampling(top_p=0.6))(logits), minlength=4).tolist() == [0, 0, 0, 4000]
    cold = torch.bincount(Sampler(Sampling(temperature=0.5))(logits), minlength=4)
    assert cold[3] / 4000 == pytest.approx(0.8650, abs=0.03)
    guided = Sampler(Sampling(guidance=3, temperature=0))
    both = torch.tensor([[0.0, 1.0], [0.0, 2.0]])  # u + 3 (c − u) = 2 − 3 = −1
    assert guided(both).tolist() == [0]
    for wrong in ({"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"guidance": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Sampling(**wrong)


def test_saving_keeps_everything(tmp_path):
    generator = make("delay with depth", classes=["cat", "dog"], condition_dim=2, grid=(2, 2), tokens_of="ab12")
    generator.tokens_of = "cd34"
    generator.save_pretrained(tmp_path)
    again = TokenGenerator.from_pretrained(tmp_path)
    assert (again.tokens_of, again.classes, again.pattern.delays) == ("cd34", ("cat", "dog"), (0, 0, 1))
    assert again.class_index("dog") == 1
    assert torch.equal(again.generate(9, seed=1), generator.generate(9, seed=1))


def test_errors_name_value_and_what_is_allowed():
    generator = make("delay", classes=["cat", "dog"])
    with pytest.raises(ValueError, match="class 'cow' does not exist: this generator has cat, dog"):
        generator.class_index("cow")
    with pytest.raises(ValueError, match="this generator has no classes"):
        make().class_index("cow")
    with pytest.raises(ValueError, match="below their sizes"):
        generator(torch.full((1, 2, 3), 3))
    with pytest.raises(TypeError, match="codes must be integers"):
        generator(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="codes must be .batch, frames, 3., got shape .1, 2, 2."):
        generator(torch.zeros(1, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="the window has 8 frames, got 9"):
        generator(torch.zeros(1, 9, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="takes none"):
        generator.generate(4, condition=torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="from −1 to 1"):
        generator.generate(4, classes=torch.tensor([2]))
    with pytest.raises(ValueError, match="not below the 5 frames of the prefix, got 4"):
        generator.generate(4, prefix=random_codes(1, 5))
    with pytest.raises(ValueError, match="guidance=2 needs a class or a condition"):
        generator.generate(4, guidance=2)
    with pytest.raises(ValueError, match="of one batch"):
        generator.generate(6, prefix=random_codes(1, 5), classes=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="the condition has 3 frames, the result 4"):
        make("delay", condition_dim=2).generate(4, condition=torch.zeros(1, 3, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code_sizes": ()}, "code_sizes must be at least 1"),
        ({"code_sizes": (1 << 20, 1)}, "a sum of at most"),
        ({"width": 30, "heads": 2}, "heads must divide the width into even parts, got 2 of 30"),
        ({"layers": 0}, "must be at least 1"),
        ({"grid": (0, 2)}, "sides of the grid"),
        ({"classes": ("a", "a")}, "must differ"),
        ({"condition_dropout": 1.5}, "condition_dropout must be in"),
    ],
)
def test_constructor_checks(options, message):
    with pytest.raises(ValueError, match=message):
        TokenGenerator(**{"code_sizes": (4,), "width": 16, "layers": 1, "heads": 2} | options)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]
)
def test_codes_and_classes_of_every_integer_dtype(dtype):
    """Token files hold int16, and pictures of 256 codes fit in uint8."""
    generator = make(classes=["cat", "dog"])
    codes, classes = random_codes(2, 5), torch.tensor([1, 0])
    assert torch.equal(generator(codes.to(dtype), classes=classes.to(dtype)), generator(codes, classes=classes))
    given, wanted = (
        generator.generate(7, prefix=codes.to(kind), classes=classes.to(kind), guidance=2)
        for kind in (dtype, torch.long)
    )
    assert given.dtype == torch.long
    assert torch.equal(given, wanted)
    with pytest.raises(ValueError, match="below their sizes"):
        generator(torch.full((1, 2, 3), 3).to(dtype))
    with pytest.raises(TypeError, match=r"codes must be integers, got torch.bool"):
        generator(codes.bool())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code_sizes": 4}, "code_sizes must be a sequence of integers, got 4"),
        ({"code_sizes": (4.0,)}, "code_sizes must be a sequence of integers"),
        ({"pattern": Delay}, "pattern must be a TokenPattern such as Delay.., got <class"),
        ({"pattern": "delay"}, "pattern must be a TokenPattern such as Delay.., got 'delay'"),
        ({"classes": "abc"}, "classes must be a sequence of names, got 'abc'"),
        ({"classes": 3}, "classes must be a sequence of names, got 3"),
        ({"grid": 3}, "grid must be a sequence of integers, got 3"),
    ],
)
def test_types_of_the_constructor(options, message):
    with pytest.raises(TypeError, match=message):
        TokenGenerator(**{"code_sizes": (4,), "width": 16, "layers": 1, "heads": 2} | options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": [0, 1]}, TypeError, "classes must be a torch.Tensor of integers, got list"),
        ({"classes": torch.tensor([0.0])}, TypeError, "classes must be integers, got torch.float32"),
        ({"prefix": [[[0, 0, 0]]]}, TypeError, "codes must be a torch.Tensor of integers, got list"),
        ({"condition": [0.0]}, TypeError, "condition must be a torch.Tensor, or a function that returns one, got list"),
        ({"condition": torch.full((1, 5, 2), torch.nan)}, ValueError, "condition has NaN or Inf"),
        ({"condition": lambda first, last: torch.full((1, 5, 2), torch.inf)}, ValueError, "condition has NaN or Inf"),
        (
            {"condition": lambda first, last: torch.zeros(1, 3, 2)},
            ValueError,
            "condition must return .batch, frames. = .1, 5. for frames 0 to 5, got .1, 3.",
        ),
        ({"condition": lambda first, last: torch.zeros(2, 5, 2)}, ValueError, "got .2, 5."),
        (
            {"condition": lambda first, last: None, "guidance": 2},
            TypeError,
            "condition must return a torch.Tensor, got None",
        ),
        ({"steps": 5.0}, ValueError, "steps and batch must be integers, got 5.0 and 1"),
        ({"steps": True}, ValueError, "steps and batch must be integers, got True and 1"),
        ({"batch": 1.5}, ValueError, "steps and batch must be integers, got 5 and 1.5"),
        ({"batch": 3, "classes": torch.tensor([0, 1])}, ValueError, "batch is 3 beside classes, .* of 2 items"),
        ({"seed": 1.5}, ValueError, "seed must be an integer in 0 … 2.64 − 1, got 1.5"),
        ({"seed": None}, ValueError, "seed must be an integer in 0 … 2.64 − 1, got None"),
        ({"seed": 1 << 64}, ValueError, "seed must be an integer in 0 … 2.64 − 1, got 18446744073709551616"),
    ],
)
def test_arguments_of_generate(options, error, message):
    generator = make(classes=["cat", "dog"], condition_dim=2)
    with pytest.raises(error, match=message):
        generator.generate(**{"steps": 5} | options)


def test_the_largest_seed():
    generator = make()
    assert generator.generate(5, seed=(1 << 64) - 1).shape == (1, 5, 3)


def test_presets_are_sizes_by_name():
    with torch.device("meta"):
        paper = TokenGenerator.preset("paper", (64,) * 4)
    assert (len(paper.transformer.layers), paper.first.shape) == (24, (1024,))
    small = TokenGenerator.preset("tiny", (8, 8), layers=1, window=4)
    assert small(torch.zeros(1, 4, 2, dtype=torch.long)).shape == (1, 4, 2)
    assert len(small.transformer.layers) == 1
    with pytest.raises(ValueError, match="no preset 'large'; there is tiny, small, paper"):
        TokenGenerator.preset("large", (8,))
