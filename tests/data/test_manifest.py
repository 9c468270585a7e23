import pytest

from vqkit.data.manifest import number, read_manifest

SUFFIXES = frozenset({".wav"})


def manifest(folder, text, files=()):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_other_media_are_left_out(tmp_path):
    text = '\ufeffpath,split,text\na/1.wav,train,"eins, zwei\nдрай"\npicture.png,train,\nwords.lab,test,\nmissing.mp4,test,\n2.WAV,test,x\n'
    rows = read_manifest(manifest(tmp_path, text, ["a/1.wav", "2.WAV"]), SUFFIXES)
    assert rows == [
        {"path": "a/1.wav", "split": "train", "text": "eins, zwei\nдрай"},
        {"path": "2.WAV", "split": "test", "text": "x"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.wav,x\n", r"manifest\.csv has no column split; it has path, label"),
        ("", r"has no column path, split; it has none"),
        ("path,split\na.wav\n", "line 2: expected 2 fields as in the header"),
        ("path,split\na.wav,train,7\n", "line 2: expected 2 fields as in the header"),
        (
            "path,split\na.wav,train\nb/../a.wav,train\n/etc/x.wav,train\n..\\x.wav,test\n",
            "3 paths that are absolute or leave the folder: b/",
        ),
        ("path,split\na.wav,train\n./a.wav,test\n", r"1 paths listed twice: a\.wav"),
        ('path,split\na.wav,"train\n', "is not a csv file in UTF-8"),
    ],
)
def test_malformed_manifests_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_manifest(manifest(tmp_path, text, ["a.wav"]), SUFFIXES)


def test_other_encodings_are_refused(tmp_path):
    path = manifest(tmp_path, "")
    path.write_bytes("path,split,text\na.wav,train,für\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not a csv file in UTF-8"):
        read_manifest(path, SUFFIXES)


def test_missing_files_are_counted_and_named(tmp_path):
    path = manifest(tmp_path, "path,split\n" + "".join(f"{i}.wav,train\n" for i in range(9)), ["4.wav"])
    with pytest.raises(
        FileNotFoundError, match=r"manifest\.csv lists 8 files that do not exist: 0\.wav, 1\.wav, 2\.wav, …$"
    ):
        read_manifest(path, SUFFIXES)
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        read_manifest(tmp_path / "other.csv", SUFFIXES)


def test_numbers(tmp_path):
    assert number({"path": "a", "duration": " 1.5 "}, "duration", tmp_path) == 1.5
    assert number({"path": "a", "duration": ""}, "duration", tmp_path) == 0
    assert number({"path": "a"}, "duration", tmp_path) == 0
    for text in ("-1", "nan", "inf", "1:30"):
        with pytest.raises(ValueError, match=f"duration of a is '{text}', expected a number of at least 0"):
            number({"path": "a", "duration": text}, "duration", tmp_path)
