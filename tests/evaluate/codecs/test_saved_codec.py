import math
import pickle

import pytest
import torch

from vqkit import RVQ
from vqkit.evaluate.codecs import SavedCodec
from vqkit.models import AudioCodec


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    quantizer = RVQ(dim=12, codebook_size=64, num_quantizers=4)
    codec = AudioCodec(quantizer, sample_rate=16000, num_filters=2).eval()
    folder = tmp_path_factory.mktemp("codec")
    codec.save_pretrained(folder)
    return folder, codec


def test_what_is_decoded_has_been_a_file(saved):
    folder, codec = saved
    wav = 0.1 * torch.randn(1, 16000)
    coded = SavedCodec(folder, 0.6).code(wav, 16000)
    assert torch.equal(coded.wav, codec.decode(codec.encode(wav[None], 0.6), 16000)[0])
    assert coded.packet_bytes == 2 * math.ceil(50 * 6 / 8)  # stages, frames, bits
    assert coded.file_bytes == len(codec.compress(wav, 16000, 0.6)) > coded.packet_bytes


def test_other_sample_rates_come_back_at_their_own(saved):
    wav = 0.1 * torch.randn(1, 24001)
    assert SavedCodec(saved[0], 1.2).code(wav, 24000).wav.shape == wav.shape


def test_another_process_can_be_handed_it(saved):
    system = SavedCodec(saved[0], 0.6, family="ours")
    assert pickle.loads(pickle.dumps(system)) == system  # noqa: S301
    assert system.name == "ours 0.6 kbps"
    assert system.settings["sample_rate"] == 16000
    assert len(system.settings["weights"]) == 64


def test_mistakes_are_named(saved, tmp_path):
    wav = torch.zeros(1, 1000)
    with pytest.raises(ValueError, match="kbps=0.1 is below the first stage"):
        SavedCodec(saved[0], 0.1).code(wav, 16000)
    with pytest.raises(ValueError, match="is not a saved model: config.json is missing"):
        SavedCodec(tmp_path, 0.6).code(wav, 16000)
