"""An image tokenizer whose quantizer has steps: the step makes the rate, every cell keeps all stages."""

import io

import pytest
import torch

from vqkit import RVQ, SteppedFSQ
from vqkit.bitstream import VqkReader, inspect
from vqkit.cli import main
from vqkit.coding.image.lanes import encode_images
from vqkit.coding.rate import Rate
from vqkit.data import read_image, write_image
from vqkit.models import ImageTokenizer, TransformBackbone
from vqkit.models.image.compression import encode_image
from vqkit.models.image.to_size import encode_to_fit
from vqkit.models.prior import code_vectors, codes_of, fit_prior

STEPS = [0.2 * 2 ** (i / 2) for i in range(8)]
BANDS = [[[[15], [15], [15, 15]], [[9, 9], [9, 9]]], [[[5] * 4] * 2, [[9, 9]] * 4]]


def waves(height=96, width=128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    made = ImageTokenizer(
        TransformBackbone(12, width=8, encoder_blocks=(0, 1), decoder_blocks=(1, 0)), SteppedFSQ(BANDS, STEPS)
    )
    made.initialize(torch.stack([waves(seed=seed) for seed in range(8)]))
    made.quantizer.fit(made.analyze(torch.stack([waves(seed=seed) for seed in range(8)])))
    made.eval()
    made.prior = fit_prior(made, codes_of(made, [waves(seed=seed) for seed in range(20)]), "static")
    return made


def psnr_db(estimate, reference):
    return float(-10 * (estimate - reference).square().mean().log10())


def sizes_by_step(tokenizer, image):
    return [len(tokenizer.compress(image, rate_weight=weight)) for weight in tokenizer.quantizer.rate_weights]


def test_finer_steps_are_more_bits_and_better(tokenizer):
    image = waves(seed=99)
    files = [tokenizer.compress(image, rate_weight=weight) for weight in tokenizer.quantizer.rate_weights[::3]]
    assert [len(file) for file in files] == sorted((len(file) for file in files), reverse=True)
    quality = [psnr_db(tokenizer.decompress(file), image) for file in files]
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > quality[-1] + 1
    assert tokenizer.compress(image) == files[0]


def test_the_file_has_all_stages_and_no_counts(tokenizer):
    data = tokenizer.compress(waves(), rate_weight=tokenizer.quantizer.rate_weights[5])
    found = inspect(io.BytesIO(data))
    assert not found["variable_stages"]
    assert found["count_bytes"] == 0
    with VqkReader(io.BytesIO(data), entropy_model=tokenizer.prior) as reader:
        codes = torch.cat([block.codes for block in reader])
    assert codes.shape == (6 * 8, 12)
    assert (codes[:, 0] == 5).all()
    assert (codes >= 0).all()


def test_a_size_gets_the_finest_step_that_fits(tokenizer):
    image = waves(seed=99)
    sizes = sizes_by_step(tokenizer, image)
    for index, size in enumerate(sizes):
        for limit, expected in ((size, index), (size - 1, index + 1)):
            if expected == len(sizes):
                continue
            file = io.BytesIO()
            stages, written = encode_to_fit(tokenizer, file, image, max_bytes=limit)
            assert (stages, written) == (2, sizes[expected])
            assert len(file.getvalue()) == written
    bpp = 8 * sizes[3] / image[0].numel()
    assert len(tokenizer.compress(image, bpp=bpp)) == sizes[3]


def test_below_the_coarsest_step_stages_are_left_out(tokenizer):
    image = waves(seed=99)
    smallest = sizes_by_step(tokenizer, image)[-1]
    stages, written = encode_to_fit(tokenizer, io.BytesIO(), image, max_bytes=smallest - 1)
    assert stages == 1
    assert written < smallest
    with pytest.raises(ValueError, match="the smallest possible file, of one stage, has"):
        encode_to_fit(tokenizer, io.BytesIO(), image, max_bytes=20)


def test_other_quantizers_leave_out_stages_as_before():
    torch.manual_seed(0)
    made = ImageTokenizer(TransformBackbone(12, width=8, encoder_blocks=(0, 0), decoder_blocks=(0, 0)), RVQ(12, 16, 4))
    image, made = waves(), made.eval()
    whole = len(made.compress(image))
    file = io.BytesIO()
    encode_image(made, file, image, 2)
    assert encode_to_fit(made, io.BytesIO(), image, max_bytes=whole - 1)[0] == 3
    assert encode_to_fit(made, io.BytesIO(), image, max_bytes=len(file.getvalue())) == (2, len(file.getvalue()))


def test_a_prior_is_fitted_to_all_steps(tokenizer):
    signals = codes_of(tokenizer, [waves(seed=seed) for seed in range(16)])
    assert {int(signal.codes[0, 0]) for signal in signals} == set(range(len(STEPS)))
    assert all((signal.codes[:, 0] == signal.codes[0, 0]).all() for signal in signals)


def test_code_vectors_of_a_grid_are_those_around_zero(tokenizer):
    steps, *others = code_vectors(tokenizer.quantizer)
    assert not steps.any()  # where all numbers are 0 the step changes nothing
    unit = STEPS[4]
    torch.testing.assert_close(others[0][:, 0], unit * 9 * torch.arange(-7.0, 8.0))
    assert not others[0][:, 1:].any()


@pytest.mark.parametrize("flag", ["--bpp", "--max-bytes"])
def test_the_command_line_keeps_to_the_rate(tokenizer, tmp_path, flag, capsys):
    tokenizer.save_pretrained(tmp_path / "model")
    write_image(tmp_path / "a.png", waves(seed=99))
    limit = sizes_by_step(tokenizer, waves(seed=99))[3]
    given = str(limit) if flag == "--max-bytes" else f"{8 * limit / (96 * 128):.6f}"
    model = ["--model", str(tmp_path / "model")]
    assert main(["encode", str(tmp_path / "a.png"), str(tmp_path / "a.vqk"), flag, given, *model]) == 0
    assert 0.7 * limit < (tmp_path / "a.vqk").stat().st_size <= limit
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "b.png"), *model]) == 0
    capsys.readouterr()


def test_images_in_lanes_keep_to_the_rate_each(tokenizer, tmp_path):
    paths, targets = [], [io.BytesIO(), io.BytesIO()]
    for seed in (98, 99):
        paths.append(tmp_path / f"{seed}.png")
        write_image(paths[-1], waves(seed=seed))
    limit = sizes_by_step(tokenizer, waves(seed=99))[3]
    encode_images(tokenizer, paths, targets, 2, Rate(max_bytes=limit))
    for path, target in zip(paths, targets, strict=True):
        alone = io.BytesIO()
        encode_to_fit(tokenizer, alone, read_image(path, 3), max_bytes=limit)
        assert target.getvalue() == alone.getvalue()
