"""Print what lets a shell complete the commands, options and choices of tessera.

Bash:  tessera completion bash > ~/.local/share/bash-completion/completions/tessera
Zsh:   tessera completion zsh > ~/.zfunc/_tessera     (with fpath+=~/.zfunc before compinit in ~/.zshrc)
Fish:  tessera completion fish > ~/.config/fish/completions/tessera.fish
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

SUMMARY = "print what lets a shell complete tessera's commands"
EXAMPLES = ("tessera completion bash", "tessera completion fish")
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The script, made from the parsers of all commands."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell]
    return {"shell": args.shell, "script": write()}


def report(result: dict[str, Any]) -> str:
    """The script alone."""
    return str(result["script"]).rstrip("\n")


def _parsers() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each command line's first words, what it does, and its parser; sub-commands follow their command."""
    from tessera_core.cli import COMMANDS, command_module, command_parser

    for name, summary in COMMANDS.items():
        parser = command_parser(name, command_module(name))
        yield name, summary, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
                for word, below in action.choices.items():
                    yield f"{name} {word}", helps.get(word, ""), below


def _choices(action: argparse.Action) -> list[str]:
    return [] if action.choices is None else [str(choice) for choice in action.choices]


def _bash() -> str:
    from tessera_core.cli import COMMANDS

    words, values = [], []
    for line, _, parser in _parsers():
        shown: list[str] = []
        for action in parser._actions:
            shown += action.option_strings or _choices(action)
            if action.option_strings and _choices(action):
                keys = "|".join(f'"{line} {option}"' for option in action.option_strings)
                values.append(f"    {keys}) words={shlex.quote(' '.join(_choices(action)))} ;;")
        words.append(f'    "{line}") words={shlex.quote(" ".join(shown))} ;;')
    return "\n".join(
        [
            "# Completion of tessera; made by 'tessera completion'.",
            "_tessera() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
            '  local line="${COMP_WORDS[1]}"',
            "  if (( COMP_CWORD == 1 )); then",
            f'    COMPREPLY=($(compgen -W {shlex.quote(" ".join([*COMMANDS, "help"]))} -- "$current")); return',
            "  fi",
            '  if [[ "$line" == help ]]; then',
            f'    COMPREPLY=($(compgen -W {shlex.quote(" ".join(COMMANDS))} -- "$current")); return',
            "  fi",
            '  if (( COMP_CWORD > 2 )) && [[ "$line" == project ]]; then line="$line ${COMP_WORDS[2]}"; fi',
            '  case "$line $before" in',
            *values,
            "  esac",
            '  if [[ -z "$words" ]]; then',
            '    case "$line" in',
            *(f"  {word}" for word in words),
            "    esac",
            "  fi",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            "}",
            "complete -o default -F _tessera tessera",
            "",
        ]
    )


def _zsh() -> str:
    return "#compdef tessera\nautoload -U +X bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    from tessera_core.cli import COMMANDS

    lines = [
        "# Completion of tessera; made by 'tessera completion'.",
        "complete -c tessera -n __fish_use_subcommand -f",
    ]
    lines += [
        f"complete -c tessera -n __fish_use_subcommand -a {name} -d {_fish_quoted(summary)}"
        for name, summary in COMMANDS.items()
    ]
    lines.append(f"complete -c tessera -n '__fish_seen_subcommand_from help' -f -a {_fish_quoted(' '.join(COMMANDS))}")
    for line, summary, parser in _parsers():
        first, _, second = line.partition(" ")
        seen = f"__fish_seen_subcommand_from {first}" + (
            f"; and __fish_seen_subcommand_from {second}" if second else ""
        )
        for action in parser._actions:
            condition = f"complete -c tessera -n {_fish_quoted(seen)}"
            if not action.option_strings:
                lines += [f"{condition} -a {choice}" for choice in _choices(action)]
                continue
            names = " ".join(
                f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
                for option in action.option_strings
            )
            takes = "" if action.nargs == 0 else " -r"
            given = f" -f -a {_fish_quoted(' '.join(_choices(action)))}" if _choices(action) else ""
            about = (action.help or summary).partition("(default")[0].strip().replace("%%", "%")
            lines.append(f"{condition} {names}{takes}{given} -d {_fish_quoted(about)}")
    return "\n".join([*lines, ""])


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
