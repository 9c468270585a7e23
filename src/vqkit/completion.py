"""``vqkit completion SHELL``: a script that completes commands, their flags, and files.

The script knows the commands; it asks ``vqkit COMMAND --help`` for the flags when a dash is completed, so it never goes stale.
"""

import argparse

__all__ = ["main"]

_BASH = """_vqkit() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$({flags} "${{COMP_WORDS[1]}}")" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
{flags}() {{ vqkit "$1" --help 2>/dev/null | grep -oE '(^|[ ,])--[A-Za-z][A-Za-z0-9_.-]*' | tr -d ' ,' | sort -u; }}
complete -o filenames -F _vqkit vqkit
"""

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n" + _BASH

_FISH = """complete -c vqkit -n __fish_use_subcommand -f -a '{commands} --help --version'
complete -c vqkit -n 'not __fish_use_subcommand' -a '(string match -q -- "-*" (commandline -ct); and {flags} (commandline -opc)[2])'
function {flags}
    vqkit $argv[1] --help 2>/dev/null | string match -arg -- '(?:^|[ ,])(--[A-Za-z][A-Za-z0-9_.-]*)' | sort -u
end
"""

_SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(argv: list[str]) -> int:
    """Print the script of a shell; exit code 0.

    Raises:
        SystemExit: another shell, or ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog="vqkit completion",
        description='Completion for a shell: eval "$(vqkit completion bash)" in ~/.bashrc, or vqkit completion fish | source.',
    )
    parser.add_argument("shell", choices=sorted(_SHELLS))
    shell = parser.parse_args(argv).shell
    from vqkit.cli import COMMANDS  # the table imports this module when the command is run

    print(_SHELLS[shell].format(commands=" ".join(COMMANDS), flags="_vqkit_flags"), end="")
    return 0
