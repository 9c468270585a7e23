"""The record of each modality agrees with what files are told by, and with what is coded."""

import io

import pytest

from vqkit.bitstream import VqkHeader
from vqkit.coding.kinds import KINDS, kind_of_content, sniffed, wanted_kind
from vqkit.data import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vqkit.data.content import content_of_file
from vqkit.modality import IMAGE, MODALITIES, SOUND, VIDEO, modality_of_content
from vqkit.models import AudioTokenizer, ImageTokenizer, VideoTokenizer


def test_no_suffix_has_two_modalities():
    suffixes = [suffix for modality in MODALITIES for suffix in modality.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert tuple(modality.suffixes for modality in MODALITIES) == (AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES)
    for field in ("name", "word", "content"):
        assert len({getattr(modality, field) for modality in MODALITIES}) == len(MODALITIES)


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_a_file_without_content_is_told_by_its_suffix(tmp_path, modality):
    for suffix in modality.suffixes:
        (tmp_path / f"x{suffix}").touch()
        assert modality_of_content(content_of_file(tmp_path / f"x{suffix}")) is modality


def test_models_and_files_name_theirs():
    assert (AudioTokenizer.modality, ImageTokenizer.modality) == (SOUND, IMAGE)
    assert VqkHeader((4,), sample_rate=8000, hop_samples=80, channels=1).modality is SOUND
    assert VqkHeader((4,), grid=(2, 2), image_size=(8, 8)).modality is IMAGE
    assert VideoTokenizer.modality is VIDEO
    assert VqkHeader((4,), sample_rate=25000, hop_samples=2000, grid=(2, 2), image_size=(8, 8)).modality is VIDEO
    assert [kind.modality for kind in KINDS] == [SOUND, IMAGE, VIDEO]


def test_a_film_is_coded_as_its_sound_unless_it_is_called_video():
    assert kind_of_content("film").modality is SOUND
    assert sniffed(io.BytesIO(b"\x1a\x45\xdf\xa3"))[0].modality is SOUND
    assert wanted_kind("sound").modality is SOUND
    assert wanted_kind(None) is None
    video = wanted_kind("video")
    assert video.modality is VIDEO
    assert kind_of_content("film", video) == video
    assert kind_of_content("sound", video).modality is SOUND
    assert sniffed(io.BytesIO(b"\x1a\x45\xdf\xa3"), video)[0] == video
    assert VIDEO.encoded_by_default is False
