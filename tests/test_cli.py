"""The command line as a whole: its table, how quickly it starts, and its completion. What a command does is tested beside it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module

import pytest

from vqkit.cli import COMMANDS, Command, main


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
    assert not found & {
        "transformers",
        "scipy",
        "lightning",
        "matplotlib",
        "jsonargparse",
        "diffusers",
        "torchmetrics",
        "sympy",
    }


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


def command(monkeypatch, function) -> None:
    """Make ``vqkit try`` a command."""
    monkeypatch.setitem(COMMANDS, "try", Command("", f"{__name__}:try_command"))
    monkeypatch.setattr(sys.modules[__name__], "try_command", function, raising=False)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "terminated")],
)
def test_signals_end_a_command_by_an_exception(monkeypatch, capsys, name, code, word) -> None:
    """On its way it removes what is not finished."""
    number, way = getattr(signal, name), []
    usual = {signal.SIGINT: signal.default_int_handler}.get(number, signal.SIG_DFL)
    before = signal.signal(number, usual)

    def wait(argv):
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            way.append("removed")

    try:
        command(monkeypatch, wait)
        assert main(["try"]) == code
        assert way == ["removed"]
        assert capsys.readouterr().err == f"{word}; what was finished is kept\n"
        assert signal.getsignal(number) is usual
        signal.signal(number, signal.SIG_IGN)  # nohup
        command(monkeypatch, lambda argv: os.kill(os.getpid(), number) or 0)
        assert main(["try"]) == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_training_hears_signals_itself(monkeypatch) -> None:
    """Lightning would let ours come first, and write no checkpoint."""
    assert [name for name, known in COMMANDS.items() if known.hears_signals] == ["train", "pretrain"]
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        heard = []
        command(monkeypatch, lambda argv: heard.append(signal.getsignal(signal.SIGTERM)) or 0)
        monkeypatch.setitem(COMMANDS, "try", replace(COMMANDS["try"], hears_signals=True))
        main(["try"])
        assert heard == [signal.SIG_DFL]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_is_one_line_that_steers_no_terminal(monkeypatch, capsys) -> None:
    def fail(argv):
        raise ValueError("a\x1b[2J is bad\n  and b\r is worse\n")

    command(monkeypatch, fail)
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "vqkit: a\\x1b[2J is bad and b\\r is worse\n"
    assert main(["\x1b"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("completion bash >&-", 0, ""),
        ("completion bash >/dev/full", 2, "vqkit: [Errno 28] No space left on device\n"),
        ("--help >/dev/full", 2, "vqkit: [Errno 28] No space left on device\n"),  # little enough to stay in a buffer
        ("inspect nowhere.vqk 2>&-", 2, ""),
        ("inspect nowhere.vqk <&- >&- ", 2, "vqkit: no such file: nowhere.vqk\n"),
        ("completion --help >/dev/full", 0, ""),
    ],
)
def test_closed_and_full_streams(words, code, error, tmp_path) -> None:
    line = f"exec {sys.executable} -m vqkit {words}"
    result = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=tmp_path, env=buffered()
    )
    assert (result.returncode, result.stderr, result.stdout) == (code, error, "")


def buffered() -> dict[str, str]:
    """An environment in which Python writes when it ends, as it does for most people."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_who_reads_no_further_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "vqkit", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False, env=buffered()
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")
