import gc
import itertools

import pytest
import torch

from vqkit import FSQ, IVQ, LFQ, PVQ, RVQ, VQ, Interpolated, LooC, ResidualLFQ
from vqkit.models import AudioCodec

SHAPES = [
    {},
    {"channels": 2, "causal": False},
    {"strides": (5,), "layers": {"num_residual_layers": 2, "trim_right_ratio": 0.5}},
    {"strides": (4, 2), "causal": False, "layers": {"num_residual_layers": 2, "pad_mode": "replicate"}},
    {"strides": (3, 3), "layers": {"pad_mode": "constant", "use_conv_shortcut": False, "kernel_size": 5}},
]
QUANTIZERS = [
    lambda: FSQ(12, [5, 3]),
    lambda: LFQ(12, 6),
    lambda: PVQ(12, 16, 3),
    lambda: ResidualLFQ(12, 4, 2),
    lambda: IVQ(12),
    lambda: LooC(12, 16, 3),
    lambda: Interpolated(VQ(12, 16), scale=2, spatial_dims=1),
    lambda: Interpolated(RVQ(12, 16, 2), scale=3, spatial_dims=1),
]


def sound(*shape):
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def small(quantizer=None, **options):
    torch.manual_seed(0)
    settings = {"sample_rate": 8000, "num_filters": 4, "strides": (2, 3)} | options
    codec = AudioCodec(RVQ(12, 16, 3) if quantizer is None else quantizer, **settings)
    codec.initialize(sound(2, codec.channels, 1200))
    return codec.eval()


def cut(x, sizes):
    """Blocks of these sizes, again and again."""
    start, blocks, next_size = 0, [], itertools.cycle(sizes)
    while start < x.shape[-1]:
        blocks.append(x[..., start : start + next(next_size)])
        start += blocks[-1].shape[-1]
    return blocks


def streamed(codec, wav, sizes, **options):
    with codec.streaming(**options) as stream:
        codes = torch.cat(list(stream.encode_blocks(cut(wav, sizes))), dim=-1)
        decoded = torch.cat(list(stream.decode_blocks(cut(codes, sizes), samples=wav.shape[-1])), dim=-1)
    return codes, decoded


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 6, 7, 41, 200])
def test_blocks_give_what_the_whole_gives(shape, samples):
    codec, wav = small(**shape).double(), sound(2, shape.get("channels", 1), samples).double()
    codes = codec.encode(wav)
    expected = codec.decode(codes, samples)
    for sizes, block_frames in [((1,), 1), ((7, 3, 0, 50), 2), ((13,), 4), ((10**6,), 15)]:
        own, decoded = streamed(codec, wav, sizes, block_frames=block_frames)
        assert torch.equal(own, codes)
        torch.testing.assert_close(decoded, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32_codes_are_equal_and_the_waveform_differs_by_rounding(shape):
    codec, wav = small(**shape), sound(1, shape.get("channels", 1), 901)
    codes = codec.encode(wav)
    expected = codec.decode(codes, 901)
    for sizes, block_frames in [((160,), 1), ((299,), 7), ((10**6,), 100)]:
        own, decoded = streamed(codec, wav, sizes, block_frames=block_frames)
        assert torch.equal(own, codes)
        torch.testing.assert_close(decoded, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("block_frames", [2, 5])
def test_the_cut_into_blocks_changes_no_bit(causal, block_frames):
    codec, wav = small(causal=causal), sound(1, 1, 301)
    whole = streamed(codec, wav, (301,), block_frames=block_frames)
    for sizes in [(1,), (100, 1), (37,)]:
        for one, other in zip(whole, streamed(codec, wav, sizes, block_frames=block_frames), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("make", QUANTIZERS)
def test_every_quantizer_streams(make):
    codec, wav = small(make()), sound(2, 1, 400)
    codes = codec.encode(wav)
    own, decoded = streamed(codec, wav, (29,))
    assert torch.equal(own, codes)
    torch.testing.assert_close(decoded, codec.decode(codes, 400), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("shape", "block_frames", "latency", "start"),
    [
        ({}, 1, 6, 42),  # the last convolution reflects the first 6 frames: 7 have to come
        ({}, 3, 18, 54),
        ({"layers": {"pad_mode": "constant"}}, 1, 6, 6),
        ({"causal": False}, 1, None, None),
        ({"causal": False, "strides": (4, 2)}, 3, None, None),
        ({"quantizer": Interpolated(VQ(12, 16), scale=2, spatial_dims=1)}, 1, 12, 48),
    ],
)
def test_latency_is_what_is_stated(shape, block_frames, latency, start):
    codec, first, worst, given = small(**shape), None, 0, 0
    with codec.streaming(block_frames=block_frames) as stream:
        for count, sample in enumerate(sound(1, 1, 300).split(1, dim=-1), start=1):
            decoded = stream.decode(stream.encode(sample))
            if decoded.shape[-1]:
                worst = worst if first is None else max(worst, count - given)
                first = first or count
                given += decoded.shape[-1]
        assert (stream.latency_samples, stream.start_samples) == (worst, first)
        assert stream.latency_seconds == worst / 8000
    assert latency in (None, worst)
    assert start in (None, first)


def test_streams_do_not_touch_each_other():
    codec, first, second = small(), sound(1, 1, 300), -sound(1, 1, 600)[..., 300:]
    alone = [streamed(codec, wav, (25,)) for wav in (first, second)]
    streams = codec.streaming(), codec.streaming()
    found = [[], []]
    for blocks in zip(first.split(25, dim=-1), second.split(25, dim=-1), strict=True):
        for stream, block, codes in zip(streams, blocks, found, strict=True):
            codes.append(stream.encode(block))
    for stream, codes, (expected, wav) in zip(streams, found, alone, strict=True):
        codes = torch.cat([*codes, stream.finish_encoding()], dim=-1)
        assert torch.equal(codes, expected)
        decoded = [stream.decode(codes[..., :9]), stream.decode(codes[..., 9:]), stream.finish_decoding()]
        assert torch.equal(torch.cat(decoded, dim=-1), wav)


def test_one_stream_takes_signals_one_after_the_other():
    codec, wav = small(causal=False), sound(2, 1, 100)
    with codec.streaming() as stream:
        for item in (wav[:1], wav):
            codes = torch.cat(list(stream.encode_blocks(item.split(9, dim=-1))), dim=-1)
            assert torch.equal(codes, codec.encode(item))
            decoded = torch.cat(list(stream.decode_blocks([codes])), dim=-1)
            torch.testing.assert_close(decoded, codec.decode(codes), atol=1e-5, rtol=0)


def live_bytes():
    storages = {}
    for item in gc.get_objects():
        if type(item) is torch.Tensor:
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
    return sum(storages.values())


def test_minutes_take_the_memory_of_seconds():
    codec = small(RVQ(4, 4, 2), sample_rate=2000, num_filters=2, strides=(8, 8))
    second = sound(1, 1, 2000)

    def minutes(count):
        stated, live = [], []

        def watched():
            for index in range(60 * count):
                stated.append(stream.state_bytes)
                if index % 60 == 59:
                    live.append(live_bytes())
                yield second

        with codec.streaming(block_frames=100) as stream:
            pieces = stream.decode_blocks(stream.encode_blocks(watched()))
            assert sum(piece.shape[-1] for piece in pieces) == 120_000 * count
        return max(stated), max(live)

    (short, short_live), (long, long_live) = minutes(2), minutes(10)
    assert long == short < 40_000
    assert long_live - short_live < 40_000  # the samples of the other eight minutes are 3.8 MB


def test_a_rate_keeps_the_first_stages():
    codec, wav = small(sample_rate=6000), sound(1, 1, 300)
    with codec.streaming(kbps=8.5) as stream:
        codes = torch.cat([stream.encode(wav), stream.finish_encoding()], dim=-1)
        assert torch.equal(codes, codec.encode(wav, 8.5))
        assert stream.decode(codes[..., :0]).shape == (1, 1, 0)
        decoded = torch.cat([stream.decode(codes), stream.finish_decoding()], dim=-1)
    torch.testing.assert_close(decoded, codec.decode(codes), atol=1e-5, rtol=0)


def test_lost_codes_are_silent_latents_as_offline():
    codec = small()
    codes = codec.encode(sound(1, 1, 120))
    codes[:, :, 3:6] = -1
    with codec.streaming() as stream:
        decoded = torch.cat(list(stream.decode_blocks(codes.split(2, dim=-1))), dim=-1)
    torch.testing.assert_close(decoded, codec.decode(codes), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            {"norm": "time_group_norm"},
            {},
            "norm='time_group_norm' cannot be streamed: it normalises by the mean and dev",
        ),
        (
            {"layers": {"pad_mode": "circular"}},
            {},
            "pad_mode='circular' cannot be streamed; allowed: 'constant', 'refl",
        ),
        ({}, {"block_frames": 0}, "block_frames must be a positive integer, got 0"),
        ({}, {"sample_rate": 44100}, "a stream takes the codec's sample_rate, 8000 Hz, got 44100; resample first"),
        ({}, {"kbps": 0.5}, "kbps=0.5 is below the first stage"),
    ],
)
def test_what_cannot_be_streamed_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        small(**shape).streaming(**options)


def test_bad_blocks_are_named_and_change_nothing():
    codec, wav = small(), sound(2, 1, 100)
    codes = codec.encode(wav)
    with codec.streaming(block_frames=2, sample_rate=8000) as stream:
        with pytest.raises(ValueError, match="no samples were given to this stream"):
            stream.finish_encoding()
        with pytest.raises(ValueError, match="no codes were given to this stream"):
            stream.finish_decoding()
        found, decoded = [stream.encode(wav[..., :31])], [stream.decode(codes[..., :3])]
        for bad, error, message in [
            (wav.long(), TypeError, "wav must be floating, got torch.int64"),
            (wav[0], ValueError, "wav must be \\(batch, 1 channels, samples\\), got shape \\(1, 100\\)"),
            (wav.transpose(1, 2), ValueError, "looks like \\(batch, samples, channels\\)"),
            (3e4 * wav, ValueError, "wav reaches .* at most ±10: divide them by their full scale"),
            (
                wav[:1],
                ValueError,
                "the signal began with blocks of \\(2, 1, …\\) torch.float32 on cpu, got \\(1, 1, …\\)",
            ),
            (wav / 0, ValueError, "wav has NaN or Inf"),
        ]:
            with pytest.raises(error, match=message):
                stream.encode(bad)
        for bad, error, message in [
            (codes[0], ValueError, "codes must be \\(batch, num_codes, frames\\)"),
            (codes.float(), TypeError, "codes must be integers"),
            (codes + 16, ValueError, "is out of range"),
            (
                codes[:, :2],
                ValueError,
                "the signal began with blocks of \\(2, 3, …\\) torch.int64 on cpu, got \\(2, 2, …\\)",
            ),
        ]:
            with pytest.raises(error, match=message):
                stream.decode(bad)
        found += [stream.encode(wav[..., 31:]), stream.finish_encoding()]
        decoded += [stream.decode(codes[..., 3:]), stream.finish_decoding()]
        assert torch.equal(torch.cat(found, dim=-1), codes)
        torch.testing.assert_close(torch.cat(decoded, dim=-1), codec.decode(codes), atol=1e-5, rtol=0)
        with pytest.raises(ValueError, match="samples must be at most 102, which is what the frames hold, got 103"):
            list(stream.decode_blocks([codes], samples=103))
    for call in (lambda: stream.encode(wav), lambda: stream.decode(codes), stream.finish_encoding):
        with pytest.raises(ValueError, match="the stream is closed"):
            call()
