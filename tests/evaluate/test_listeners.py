import pytest

from vqkit.evaluate.listeners import listeners, protocols_of


def test_speech_has_its_own_listeners():
    voice = ["pesq", "stoi", "estoi", "f0_correlation", "voicing_agreement", "visqol", "dnsmos"]
    any_sound = ["mel_distance", "lsd", "si_sdr", "kld_vqkit_sounds"]
    assert [*listeners("speech", 16000)] == voice + any_sound
    assert [*listeners("music", 16000)] == ["visqol", *any_sound]
    assert listeners("speech", 16000)["visqol"].settings["mode"] == "speech"
    assert listeners("music", 16000)["visqol"].settings["mode"] == "audio"


def test_the_fast_ones_have_no_network_but_the_one_that_ships():
    assert [*listeners("speech", 16000, thorough=False)] == [
        "pesq",
        "stoi",
        "f0_correlation",
        "voicing_agreement",
        "mel_distance",
        "lsd",
        "si_sdr",
        "kld_vqkit_sounds",
    ]


def test_without_the_packages_the_fast_ones_still_work(monkeypatch):
    monkeypatch.setattr("vqkit.evaluate.listeners.find_spec", lambda name: None)
    assert [*listeners("speech", 8000, thorough=False)] == [
        "f0_correlation",
        "voicing_agreement",
        "mel_distance",
        "lsd",
        "si_sdr",
        "kld_vqkit_sounds",
    ]


def test_protocols_name_and_direct():
    protocols = protocols_of(listeners("speech", 16000, thorough=False))
    assert (protocols["pesq"].name, protocols["pesq"].unit, protocols["pesq"].better) == ("PESQ", "MOS", "higher")
    assert (protocols["mel_distance"].name, protocols["mel_distance"].better) == ("mel distance", "lower")
    assert protocols["pesq"].parameters["band"] == "wb"


def test_another_kind_is_an_error():
    with pytest.raises(ValueError, match="kind must be one of speech, music, got 'noise'"):
        listeners("noise", 16000)
