"""The shipped codec in 8 bits beside itself in float32, both as ONNX: size, codes, sound and what a listener says."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from vqkit import RVQ
from vqkit.cli import main
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.metrics import PESQ
from vqkit.models import AudioCodec, SpectralCodec, command
from vqkit.models.export.codec import export_onnx
from vqkit.models.export.int8 import to_int8, wide_products


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    codec = AudioCodec.from_pretrained()
    for path in export_onnx(codec, folder):
        assert to_int8(path, codec.quantizer.dim) == folder / f"{path.stem}.int8.onnx"
    return folder


@pytest.fixture(scope="module")
def run(folder):
    def session(name):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

    sessions = {name: session(name) for name in ("encoder", "encoder.int8", "decoder", "decoder.int8")}
    return lambda name, tensor: torch.from_numpy(sessions[name].run(None, {_input(name): tensor.numpy()})[0])


def _input(name):
    return "wav" if name.startswith("encoder") else "codes"


@pytest.fixture(scope="module")
def speech():
    return [read_audio(clip.path, 16000, 1).samples[None] for clip in list_clips(sample_folder(), "test", "speech")[:2]]


def test_files_are_about_half_as_large_and_say_the_same(folder):
    for name in ("encoder", "decoder"):
        plain, small = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
        assert small.stat().st_size < 0.65 * plain.stat().st_size
        notes = [{entry.key: entry.value for entry in onnx.load(path).metadata_props} for path in (plain, small)]
        assert notes[0].items() <= notes[1].items()


def test_what_meets_the_latent_stays_in_float32(folder):
    products = wide_products(onnx.load(folder / "encoder.onnx"), latent_dim=48)
    assert len(products) == 1 + 2 * 4  # the way in, and two in each block
    rounded = {node.op_type for node in onnx.load(folder / "encoder.int8.onnx").graph.node}
    assert "MatMulInteger" in rounded
    kept = [
        node
        for node in onnx.load(folder / "encoder.int8.onnx").graph.node
        if node.op_type in ("Gemm", "MatMul", "Gather")
    ]
    before = [
        node for node in onnx.load(folder / "encoder.onnx").graph.node if node.op_type in ("Gemm", "MatMul", "Gather")
    ]
    assert len(kept) >= len(before) - len(products)  # searches and codebooks with them


def test_the_decoder_makes_nearly_the_same_sound(run, speech):
    for wav in speech:
        codes = run("encoder", wav)
        one, other = run("decoder", codes), run("decoder.int8", codes)
        snr_db = 10 * (one.square().mean() / (one - other).square().mean()).log10()
        assert 15 < snr_db < 60  # it is another graph


def test_a_listener_hears_no_difference(run, speech):
    scores = []
    for encoder, decoder in (("encoder", "decoder"), ("encoder.int8", "decoder.int8")):
        metric = PESQ(16000)
        for wav in speech:
            codes = run(encoder, wav)
            codes[:, 6:] = -1  # 3 kbit/s
            metric.update(run(decoder, codes)[..., : wav.shape[-1]], wav)
        scores.append(float(metric.compute()))
    assert scores[1] > scores[0] - 0.1
    assert scores[0] > 1.8


def graph(path, *sides):
    """A chain of products, which takes no time to make: the export itself is tested beside."""
    helper, numpy = onnx.helper, onnx.numpy_helper
    nodes, constants = [], []
    for number, shape in enumerate(itertools.pairwise(sides)):
        nodes.append(
            helper.make_node("MatMul", [f"x{number}", f"w{number}"], [f"x{number + 1}"], name=f"product{number}")
        )
        constants.append(numpy.from_array(np.ones(shape, np.float32) / shape[0], f"w{number}"))
    ends = [
        helper.make_tensor_value_info(f"x{index}", onnx.TensorProto.FLOAT, [None, sides[index]])
        for index in (0, len(sides) - 1)
    ]
    made = helper.make_graph(nodes, "chain", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_only_products_wider_than_the_latent_are_rounded(tmp_path):
    path = graph(tmp_path / "encoder.onnx", 20, 12, 64, 128)
    assert wide_products(onnx.load(path), latent_dim=12) == ["product2"]
    assert wide_products(onnx.load(path), latent_dim=11) == ["product0", "product1", "product2"]
    small = onnx.load(to_int8(path, 12))
    assert [node.op_type for node in small.graph.node].count("MatMul") == 2
    assert [constant.data_type for constant in small.graph.initializer].count(
        onnx.TensorProto.INT8
    ) == 1 + 1  # and its zero


def test_a_graph_without_wide_layers_is_refused(tmp_path):
    path = graph(tmp_path / "encoder.onnx", 20, 12, 64)
    with pytest.raises(ValueError, match=r"encoder.onnx has no linear layers wider than its latent of 12"):
        to_int8(path, 12)
    assert [one.name for one in tmp_path.iterdir()] == ["encoder.onnx"]


def test_command(tmp_path, capsys, monkeypatch):
    SpectralCodec(RVQ(12, 16, 2), encoder_width=16, decoder_width=16).save_pretrained(tmp_path / "codec")

    def written(codec, folder):
        folder.mkdir(exist_ok=True)
        return tuple(graph(folder / f"{name}.onnx", 12, 64, 128) for name in ("encoder", "decoder"))

    monkeypatch.setattr(command, "export_onnx", written)
    words = ["export", str(tmp_path / "codec"), str(tmp_path / "out"), "--int8"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for name in ("encoder.onnx", "encoder.int8.onnx", "decoder.onnx", "decoder.int8.onnx"):
        assert f"{name}: {(tmp_path / 'out' / name).stat().st_size} bytes" in printed
    for name in ("encoder.onnx", "decoder.onnx", "encoder.int8.onnx"):
        (tmp_path / "out" / name).unlink()
    assert main(words) == 2
    assert "decoder.int8.onnx exists; -f overwrites it" in capsys.readouterr().err
