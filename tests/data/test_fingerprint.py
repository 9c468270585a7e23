import dataclasses
import hashlib
import os
import shutil

import numpy as np

from vqkit.data import Clip, fingerprint, list_clips, sample_folder


def clips_of(folder, sizes):
    for name, size in sizes.items():
        (folder / name).write_bytes(np.random.default_rng(size).bytes(size))
    return [Clip(folder / name, name, "train", "", 1.0, 16000, {"label": "x"}) for name in sizes]


def test_folder_order_and_time_play_no_part(tmp_path):
    clips = list_clips(sample_folder(), split="valid", group="speech")
    copy = tmp_path / "elsewhere"
    shutil.copytree(sample_folder(), copy)
    for path in copy.rglob("*.opus"):
        os.utime(path, (1, 1))
    copied = list_clips(copy, split="valid", group="speech")
    assert len(fingerprint(clips)) == 64
    assert fingerprint(clips) == fingerprint(copied[::-1])


def test_a_known_value(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    clip = Clip(tmp_path / "a", "a", "train", "g", 1.0, 16000, {"label": "ü"})
    content = hashlib.sha256(b"3abc").hexdigest().encode()
    line = b'["a", "train", "g", {"label": "\\u00fc"}, "' + content + b'"]\n'
    assert fingerprint([clip]) == hashlib.sha256(line).hexdigest()  # the form is fixed: caches outlive a version


def test_every_difference_shows(tmp_path):
    clips = clips_of(tmp_path, {"a": 1000, "b": 3_000_000})
    seen = {fingerprint(clips), fingerprint(clips[:1]), fingerprint([])}
    for change in ({"name": "c"}, {"split": "test"}, {"group": "g"}, {"labels": {"label": "y"}}):
        seen.add(fingerprint([dataclasses.replace(clips[0], **change), clips[1]]))
    for name, position in (("a", 500), ("b", 0), ("b", 2_999_999)):
        data = bytearray((tmp_path / name).read_bytes())
        data[position] ^= 1
        (tmp_path / name).write_bytes(data)
        seen.add(fingerprint(clips))
    with (tmp_path / "b").open("ab") as file:
        file.write(b"x")
    seen.add(fingerprint(clips))
    assert len(seen) == 3 + 4 + 3 + 1
