"""The command line as a whole: its table, how quickly it starts, and its completion. What a command does is tested beside it."""

import re
import shutil
import subprocess
import sys
from importlib import import_module

import pytest

from vqkit.cli import COMMANDS, main


def modules_after(*words: str) -> set[str]:
    """Top-level packages that a command has imported when it ends."""
    code = (
        "import sys; from vqkit.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_function_with_a_docstring(name: str) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    assert getattr(import_module(module), function).__doc__
    assert not COMMANDS[name].summary.endswith(".")


def test_help_and_inspect_start_without_torch(tmp_path) -> None:
    assert "torch" not in modules_after("--help")
    damaged = tmp_path / "bad.vqk"
    damaged.write_bytes(b"no such thing")
    assert not modules_after("inspect", str(damaged)) & {"torch", "transformers", "jaxtyping"}


def test_encode_does_not_import_what_it_does_not_use(tmp_path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    found = modules_after("encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"))
    assert (tmp_path / "a.vqk").is_file()
    assert not found & {"transformers", "scipy", "lightning", "matplotlib", "jsonargparse", "diffusers", "torchmetrics"}


def test_python_m_vqkit_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "vqkit", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", result.stdout)


def test_an_unknown_command_is_one_line_that_names_the_known_ones(capsys) -> None:
    assert main(["encoed"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown command 'encoed'; known: demo, compare" in error


def test_a_missing_package_names_its_extra(monkeypatch, capsys) -> None:
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "constriction" else real(name, *rest))
    assert main(["inspect", "a.vqk"]) == 2
    assert capsys.readouterr().err == "vqkit: constriction is not installed: pip install 'vqkit[audio]'\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_offers_commands_flags_and_files(tmp_path, capsys) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "song.wav").touch()
    (tmp_path / "vqkit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vqkit "$@"\n')
    (tmp_path / "vqkit").chmod(0o755)

    def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        code = f"PATH=$PWD:$PATH; . ./completion.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _vqkit; echo ${{COMPREPLY[@]}}"
        found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
        return found.stdout.split()

    assert completed("vqkit", "en") == ["encode"]
    assert completed("vqkit", "inspect", "--js") == ["--json"]
    assert completed("vqkit", "inspect", "so") == ["song.wav"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_for_other_shells_names_every_command(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    if shutil.which(shell):
        subprocess.run([shell, "-n", "/dev/stdin"], input=script, text=True, check=True)
