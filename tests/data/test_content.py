import io
import os

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from vqkit.data.content import HEAD_BYTES, content_of, content_of_file

NOISE = np.random.default_rng(0).standard_normal(48000) * 0.1


def of_soundfile(form, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, NOISE, 48000, format=form, subtype=subtype)
    return file.getvalue()


def of_ffmpeg(form, codec, rate=48000, kbps=64):
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", bit_rate=kbps * 1000)
        for start in range(0, len(NOISE), 1024):
            samples = NOISE[None, start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def of_pillow(form, **options):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(file, form, **options)
    return file.getvalue()


def check(tmp_path, data, content):
    assert content_of(data[:HEAD_BYTES]) == content
    for name in ("none", "x.unknown", "wrong.png", "wrong.wav", "wrong.mp4"):
        (tmp_path / name).write_bytes(data)
        assert content_of_file(tmp_path / name) == content


@pytest.mark.parametrize(
    "form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO"]
)  # fmt: skip
def test_images(tmp_path, form):
    check(tmp_path, of_pillow(form), "image")


def test_other_images(tmp_path):
    big = io.BytesIO()
    Image.new("1", (9, 9)).save(big, "TIFF", big_tiff=True)
    for data in (
        of_pillow("JPEG2000", no_jp2=True), big.getvalue(), b"P1 1 1 0", b"P4# a comment\n3 1 \0", b"Pf\n1 1\n-1\n\0\0\0\0",
        b"MM\0+\0\x08\0\0", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf",
    ):  # fmt: skip
        check(tmp_path, data, "image")


@pytest.mark.parametrize(
    "form", ["WAV", "RF64", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "VOC", "NIST"]
)
def test_sound(tmp_path, form):
    check(tmp_path, of_soundfile(form, "PCM_16" if form in ("VOC", "NIST") else None), "sound")


def test_opus(tmp_path):
    check(tmp_path, of_soundfile("OGG", "OPUS"), "sound")


@pytest.mark.parametrize(
    ("form", "codec", "content"),
    [
        ("adts", "aac", "sound"), ("ipod", "aac", "sound"), ("ac3", "ac3", "sound"), ("eac3", "eac3", "sound"),
        ("mp2", "mp2", "sound"), ("tta", "tta", "sound"), ("wv", "wavpack", "sound"), ("mp4", "aac", "film"), ("mov", "aac", "film"),
        ("matroska", "aac", "film"), ("webm", "libopus", "film"), ("avi", "mp2", "film"), ("mpegts", "aac", "film"),
        ("mpeg", "mp2", "film"), ("flv", "aac", "film"), ("asf", "wmav2", "film"), ("rm", "ac3", "film"),
    ],
)  # fmt: skip
def test_sound_and_films_of_ffmpeg(tmp_path, form, codec, content):
    check(tmp_path, of_ffmpeg(form, codec), content)


@pytest.mark.parametrize(
    ("rate", "kbps"), [(44100, 128), (48000, 320), (32000, 40), (22050, 24), (16000, 160), (8000, 8)]
)
def test_mpeg_audio_without_tags(tmp_path, rate, kbps):
    """No tag before the frames, which begin with 11 bits that anything may begin with."""
    data = of_ffmpeg("mp3", "libmp3lame", rate, kbps)
    if data.startswith(b"ID3"):
        data = data[10 + int.from_bytes(data[6:10], "big") :]
    assert data[0] == 0xFF
    check(tmp_path, data, "sound")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"Dear reader, BMW and P5 are names", b"BM of the year", b"P1 is a road", b"P5 ", "Übersicht".encode("utf-16"),
        b"%PDF-1.7\n", b"PK\3\4", b"\x7fELF", b"<html>", b"#!/bin/sh\n", b"GIF of the day", b"RIFF\0\0\0\0ACON", b"FORM\0\0\0\0ILBM",
        b"ID", b"\xff\xfb\x90\x00" + bytes(5000), b"\xff\xf1" + bytes(5000), b"GGGG", b"\0" * 4096, b"{}", b"path,split\n",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"II*\0\x10\0\0\0CR\x02\0", b"IIU\0", b"MM\0\x2c",
    ],
)  # fmt: skip
def test_nothing_we_know(tmp_path, data):
    assert content_of(data) == ""
    for name in ("none", "x.txt", "x.nef"):
        (tmp_path / name).write_bytes(data)
        assert content_of_file(tmp_path / name) == ""
    for name, content in (("x.PNG", "image"), ("x.Mp3", "sound"), ("x.mov", "film"), ("x.vqk", "vqk")):
        (tmp_path / name).write_bytes(data)  # as long as the bytes say nothing, the suffix does
        assert content_of_file(tmp_path / name) == content


def test_random_bytes_are_nothing():
    random = np.random.default_rng(0)
    found = [content_of(random.bytes(HEAD_BYTES)) for _ in range(2000)]
    assert found.count("") >= 1998
    for start in (b"\xff\xfb", b"\xff\xf1", b"\xff\xe3", b"BM", b"G", b"\x0b"):
        found = [content_of(start + random.bytes(HEAD_BYTES)) for _ in range(300)]
        assert found.count("") >= 290


def test_other_suffixes_of_images(tmp_path):
    for suffix in (".jfif", ".jpe", ".pbm", ".pnm", ".apng", ".j2k", ".JFIF"):
        (tmp_path / f"x{suffix}").touch()
        assert content_of_file(tmp_path / f"x{suffix}") == "image"


def test_a_cameras_raw_file_is_no_tiff(tmp_path):
    for name, content in (("x.nef", ""), ("x.DNG", ""), ("x.tif", "image"), ("x", "image")):
        (tmp_path / name).write_bytes(b"MM\0*\0\0\0\x08")
        assert content_of_file(tmp_path / name) == content


def test_our_own_files():
    assert content_of(b"\x89VQK\1\0") == "vqk"


def test_a_named_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    os.mkfifo(tmp_path / "x")
    assert content_of_file(tmp_path / "x.png") == "image"
    assert content_of_file(tmp_path / "x") == ""
    assert content_of_file(tmp_path / "nowhere.wav") == "sound"
