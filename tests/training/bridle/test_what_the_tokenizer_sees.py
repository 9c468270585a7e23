"""The published code for video shows the tokenizer the hidden patches alone: an option, and what it changes."""

import pytest
import torch

from vqkit import RVQ, LooC
from vqkit.models import Bridle
from vqkit.models.bridle import Stack
from vqkit.training import BridleModule

SIZES = {"encoder": Stack(16, 2, 2), "predictor": Stack(16, 1, 2), "estimator": Stack(16, 1, 2)}


def bridle(quantizer=None):
    torch.manual_seed(0)
    return Bridle.preset("image-tiny", quantizer or RVQ(8, 16, 2), size=(16, 16), patch=(4, 4), **SIZES)


@pytest.fixture
def fitted():
    made = bridle()
    made.tokenizer.start(made.cut(torch.rand(16, 3, 16, 16)).values, made.grid)
    return made.eval()


def test_codes_are_those_of_the_chosen_places_alone(fitted):
    x = torch.rand(2, 3, 16, 16)
    cut = fitted.cut(x)
    chosen = torch.tensor([[1, 5, 6, 11, 15], [0, 2, 3, 8, 9]])
    # the cold start looks at each patch by itself: both readings agree
    whole = fitted.tokenizer.codes(cut.values, cut.grid)
    assert torch.equal(
        fitted.tokenizer.codes_alone(cut.values, chosen), whole.gather(1, chosen[..., None].expand(-1, -1, 2))
    )
    fitted.tokenizer.trained.fill_(True)
    with torch.no_grad():
        for layer in (fitted.tokenizer.inner, fitted.tokenizer.outer):
            layer.weight.mul_(3)
    alone = fitted.tokenizer.codes_alone(cut.values, chosen)
    changed = cut.values.clone()
    changed[:, [4, 7, 10, 12, 13, 14]] = 9.0  # places that neither item has chosen
    assert torch.equal(fitted.tokenizer.codes_alone(changed, chosen), alone)
    assert not torch.equal(fitted.tokenizer.codes(changed, cut.grid), fitted.tokenizer.codes(cut.values, cut.grid))


def test_the_encoder_phase_predicts_them(fitted):
    fitted.tokenizer.trained.fill_(True)
    cut = fitted.cut(torch.rand(4, 3, 16, 16))
    losses, seen = {}, {}
    for sees in ("all", "hidden"):
        module = BridleModule(fitted, tokenizer_sees=sees)
        module.log = lambda *_, **__: None
        torch.manual_seed(1)
        losses[sees] = module.encoder_losses(cut)["encoder"].item()
        seen[sees] = module._codes.shape
    assert losses["all"] != losses["hidden"]
    assert (seen["all"], seen["hidden"]) == ((4, 16, 2), (4, 13, 2))  # 0.8 of 16 places are hidden


def test_what_is_allowed(fitted):
    with pytest.raises(ValueError, match="tokenizer_sees must be 'all' or 'hidden', got 'some'"):
        BridleModule(fitted, tokenizer_sees="some")
    grid = bridle(LooC(8, 16, 4, scale=2))
    with pytest.raises(ValueError, match="not for a quantizer that interpolates"):
        BridleModule(grid, tokenizer_sees="hidden")
    with pytest.raises(ValueError, match="needs the whole grid"):
        grid.tokenizer.codes_alone(torch.zeros(1, 16, 48), torch.tensor([[0]]))
