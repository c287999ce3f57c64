"""The command line, ``tessera``: the app's tasks headless.

Every command is a module of this package with ``SUMMARY: str``, ``EXAMPLES: tuple[str, ...]`` (command lines that work),
``add_arguments(parser)`` and ``run(args) -> dict``. The dict is what ``--json`` prints, one object on stdout; without ``--json``
the command's optional ``report(result) -> str`` is printed instead. Also optional: ``PATHS``, the paths it reads and writes, which
are checked before it runs (:mod:`tessera_core.cli.paths`); ``check(args)``, what else can be refused before anything heavy is
imported; and ``STOPPED: str``, what is true after Ctrl-C. Progress and logs go to stderr.

Exit codes, the same everywhere: 0 done, 1 failure, 2 bad input, 3 done in part (``missing`` or ``failed`` in the result name
what is not), 130 stopped. With ``--json`` a failure is an object, too: ``{"error": {"kind", "message", "exit"}}``.

Only the module of the command that runs is imported, and modules import what is heavy inside ``run``, so that
``tessera --help`` is quick.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from tessera_core import __version__
from tessera_core.cli.console import PROGRESS, say, secure_streams, talking
from tessera_core.errors import InputError, TesseraError
from tessera_core.periods import written

if TYPE_CHECKING:
    from tessera_core.cli.objects import Stores

# Order of a user's path through the tool; each name is a module of this package.
COMMANDS = {
    "app": "open the app in the browser",
    "demo": "write the demo region: time series, embeddings and ground truth",
    "info": "say what a tile, raster, checkpoint, head or project is",
    "coverage": "say what published embeddings there are of a region",
    "fetch": "fetch published embeddings of a region, or at points",
    "acquire": "fetch Sentinel-1/2 time series as d-pixel tiles",
    "generate": "turn d-pixel tiles into embeddings",
    "fill": "fill holes of published embeddings with embeddings made here",
    "pretrain": "train an encoder on d-pixels",
    "study": "measure what an encoder is worth, with tables",
    "project": "make, open, list and fill projects without the app",
    "map": "train a head on labels and map a region",
    "head": "one head from labels in many places: train, teach further, keep",
    "places": "the places of one map: list them, map all of them",
    "change": "find what changed between two years",
    "monitor": "what is new this year: a list to review, and labels of it",
    "features": "other rasters as features: elevation, slope, canopy height",
    "stack": "join two embeddings of one place into one",
    "evaluate": "score a head honestly, with whole places held out",
    "weak-labels": "labels from an existing map or register, with its agreement",
    "zones": "polygons in, table out: what a map says of each field or farm",
    "segment": "find fields in embeddings, where there is no register",
    "class": "a class by files: its pack, its board and its map",
    "export": "write a project's map and labels for others to use",
    "lesson": "check a lesson of your own, hand it out, take one in",
    "validate": "check a project's map at places drawn by chance, with one person or several",
    "verify": "check a report: recompute every number of it from its project",
    "engine": "serve another program, such as the QGIS plugin, line by line",
    "backup": "keep everything here as one file, or put it back",
    "bench": "measure this machine",
    "completion": "print what lets a shell complete tessera's commands",
}
# Names that commands had: scripts may have them.
FORMER = {"fuse": "stack"}
_log = logging.getLogger(__name__)
# How often a share takes in what others bring into a store while it ends.
ROUNDS = 20
DONE, FAILURE, BAD_INPUT, PARTLY, STOPPED = 0, 1, 2, 3, 130
EXIT_CODES = (
    "exit codes: 0 done, 1 failure, 2 bad input, 3 done in part (what is missing is named), 130 stopped with Ctrl-C."
)
_BEFORE = {"-q", "--quiet", "-v", "--verbose", "--json", "--overwrite"}


class _UsageError(Exception):
    """The arguments are not those of the command."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Tells the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text is None or not action.option_strings or "default" in text:
            return text
        if action.default in (None, False, "", argparse.SUPPRESS) or action.default == []:
            return text
        shown = ",".join(map(str, action.default)) if isinstance(action.default, tuple | list) else "%(default)s"
        return f"{text} (default: {shown})"


class Parser(argparse.ArgumentParser):
    """Reports wrong usage in one sentence, with the option or word that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """What argparse calls where the arguments are wrong."""
        near = ""
        if found := re.match(r"unrecognized arguments: (-\S+)", message):
            options = [text for each in leaves(self) for action in each._actions for text in action.option_strings]
            near = meant(found[1].partition("=")[0], options)
        elif found := re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message):
            near = meant(found[1], re.findall(r"[\w.-]+", found[2]))
        message = message[0].upper() + message[1:]
        raise _UsageError(f"{message}.{near} Try '{self.prog} --help'.")


def meant(word: str, known: Sequence[str]) -> str:
    """`` Did you mean ...?`` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f" Did you mean {near[0]}?" if near else ""


def command_module(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"tessera_core.cli.{name.replace('-', '_')}")


def command_parser(name: str, module: ModuleType) -> Parser:
    """The parser of a command, with what all commands understand."""
    examples = "".join(f"  {line}\n" for line in getattr(module, "EXAMPLES", ()))
    parser = Parser(
        prog=f"tessera {name}",
        description=module.__doc__,
        epilog=(f"examples:\n{examples}\n" if examples else "") + EXIT_CODES,
        formatter_class=_Formatter,
    )
    module.add_arguments(parser)
    for each in leaves(parser):
        each.formatter_class, each.epilog = parser.formatter_class, parser.epilog
        general = each.add_argument_group("all commands")
        general.add_argument(
            "--json", action="store_true", help="print exactly one JSON object on stdout, also on failure"
        )
        general.add_argument("--progress", choices=PROGRESS, default="auto", help="how progress is told on stderr")
        general.add_argument("-q", "--quiet", action="store_true", help="tell no progress")
        general.add_argument(
            "-v", "--verbose", action="store_true", help="tell what libraries log, and where errors arose"
        )
        if getattr(module, "PATHS", None):
            general.add_argument(
                "--overwrite",
                action="store_true",
                help="replace existing output files that this program did not write (never inputs, never folders)",
            )
    return parser


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers that end a command line: those of sub-commands, or the parser itself."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for each in dict.fromkeys(action.choices.values()):
            yield from leaves(each)


def _join_bbox(argv: Sequence[str]) -> list[str]:
    """Join ``--bbox -0.1,51,...`` into one argument: argparse takes a western longitude for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--bbox" and "," in word:
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined


def _dashed_name(parser: Parser, argv: Sequence[str]) -> str:
    """What to write for a file whose name begins with a dash, where a word looks like one: argparse takes it for an option."""
    options = {text for each in (parser, *leaves(parser)) for action in each._actions for text in action.option_strings}
    for word in argv:
        if not word.startswith("-") or word.strip("-") == "" or word.partition("=")[0] in options:
            continue
        if os.path.lexists(word) or re.fullmatch(r"-[^=]*\.[A-Za-z][A-Za-z0-9]*", word):
            return f" A file whose name begins with a dash is given as ./{word}."
    return ""


def _require_known(parser: Parser, argv: Sequence[str]) -> None:
    """Refuse misspelt options before argparse complains of what they were to give."""
    options = [text for each in (parser, *leaves(parser)) for action in each._actions for text in action.option_strings]
    for word in argv:
        option = word.partition("=")[0]
        if word == "--":
            return
        if word.startswith("--") and not any(known.startswith(option) for known in options):
            parser.error(f"unrecognized arguments: {word}")


def _overview() -> str:
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return (
        "usage: tessera COMMAND ...\n\nFrom satellite embeddings to a map you can trust.\n\ncommands:\n"
        + "\n".join(lines)
        + "\n\n'tessera help COMMAND' tells more, with examples; 'tessera --version' the version. All commands take --json, "
        + f"--progress, -q (quiet)\nand -v (verbose).\n\n{EXIT_CODES}\n"
    )


def _reordered(argv: list[str]) -> list[str]:
    """The command first: options that all commands take may stand before it, too."""
    before: list[str] = []
    rest = list(argv)
    while rest and (rest[0] in _BEFORE or rest[0].startswith("--progress")):
        before.append(rest.pop(0))
        if before[-1] == "--progress" and rest:
            before.append(rest.pop(0))
    return [*rest, *before]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    secure_streams()
    argv = _reordered(list(sys.argv[1:] if argv is None else argv))
    if argv[:1] == ["help"] and len(argv) > 1 and not argv[1].startswith("-"):
        argv = [argv[1], "--help"]
    argv[:1] = [FORMER.get(word, word) for word in argv[:1]]
    if not argv or argv[0] in ("-h", "--help", "help"):
        return _print(_overview(), DONE if argv else BAD_INPUT)
    if argv[0] in ("-V", "--version"):
        return _print(f"tessera {__version__}\n", DONE)
    name, as_json = argv[0], "--json" in argv
    if name not in COMMANDS:
        known = [*COMMANDS, "help"]
        message = f"There is no command {name!r}.{meant(name, known)} The commands are {', '.join(COMMANDS)}."
        return _failed("", "UsageError", message, BAD_INPUT, as_json)
    try:
        module = command_module(name)
        parser = command_parser(name, module)
        _require_known(parser, argv[1:])
        args = parser.parse_args(_join_bbox(argv[1:]))
    except _UsageError as error:
        return _failed(name, "UsageError", f"{error}{_dashed_name(parser, argv[1:])}", BAD_INPUT, as_json)
    except KeyboardInterrupt:
        return _failed(name, "KeyboardInterrupt", "Stopped before it began.", STOPPED, as_json)
    with talking("none" if args.quiet else args.progress, args.verbose):
        return _run(name, module, args)


def _run(name: str, module: ModuleType, args: argparse.Namespace) -> int:
    from tessera_core.cli.objects import Stores
    from tessera_core.cli.paths import check_paths

    stores, declared = Stores(), getattr(module, "PATHS", {})
    try:
        stores.fetch(declared, args)
        replaced = check_paths(declared, args, overwrite=getattr(args, "overwrite", False))
        if hasattr(module, "check"):
            module.check(args)
        try:
            result = module.run(args)
        except TesseraError:
            if getattr(args, "share", None) is not None:
                stores.send_done()
            raise
        if stores.any:
            stores.send()
            result = stores.told(_settled(stores, module, args, result))
    except TesseraError as error:
        _log.info("Where it arose:", exc_info=True)
        code = BAD_INPUT if isinstance(error, InputError) else FAILURE
        return _failed(name, type(error).__name__, stores.told(str(error)), code, args.json)
    except KeyboardInterrupt:
        kept = getattr(module, "STOPPED", "what was not finished is not kept")
        return _failed(name, "KeyboardInterrupt", f"Stopped; {kept}.", STOPPED, args.json)
    except MemoryError as error:
        message = "There is not enough memory for this. Close other programs, or take a smaller region or fewer labels."
        return _failed(name, type(error).__name__, message, FAILURE, args.json)
    except OSError as error:
        _log.info("Where it arose:", exc_info=True)
        where = f"{error.filename}: " if error.filename else ""
        message = f"The system refused: {where}{error.strerror or error}."
        return _failed(name, type(error).__name__, message, FAILURE, args.json)
    except Exception as error:  # noqa: BLE001 (the last resort)
        _log.info("This was not foreseen.", exc_info=True)
        # A mistake of ours: a person gets a sentence, whoever looks into it the whole with --verbose.
        message = (
            f"Something unforeseen happened ({type(error).__name__}: {error}). --verbose says where; please report it."
        )
        return _failed(name, type(error).__name__, message, FAILURE, args.json)
    code = PARTLY if result.get("missing") or result.get("failed") else DONE
    code = FAILURE if result.get("differs") else code
    if replaced and isinstance(result, dict):
        result["replaced"] = [str(path) for path in replaced]
    if args.json:
        return _print(json.dumps(_plain(result), allow_nan=False) + "\n", code)
    report = getattr(module, "report", None)
    text = report(result) if report else json.dumps(_plain(result), indent=2, allow_nan=False)
    lines = [text, *(f"Replaced the earlier {path}." for path in replaced)]
    return _print("\n".join(lines) + "\n", code)


def _settled(stores: Stores, module: ModuleType, args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a share once it has seen all that other shares have brought into the store.

    Shares that end at the same moment each show what they saw. So each looks once more after it has sent, and shows and sends
    again until nothing new has come: whoever looks last has seen all.

    Args:
        result: of the first time.
    """
    if getattr(args, "share", None) is None:
        return result
    for _ in range(ROUNDS):
        if not stores.came():
            break
        made = result.get("made")
        result = module.run(args)
        if made is not None and "made" in result:
            result["made"] += made
        stores.send()
    return result


def _plain(value: Any) -> Any:
    """A result for JSON, in which windows beside calendar years are told by their text rather than by their number."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return written(value) if isinstance(value, int) else value


def _failed(name: str, kind: str, message: str, code: int, as_json: bool) -> int:
    say(f"tessera {name}: {message}\n" if name else f"tessera: {message}\n")
    if as_json:
        error: dict[str, Any] = {"kind": kind, "message": message, "exit": code}
        return _print(json.dumps({"error": error}) + "\n", code)
    return code


def _print(text: str, code: int) -> int:
    """Write to stdout; returns ``code``, as the exit code tells how the work went and not how much of it somebody read."""
    if sys.stdout is None:
        return code
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # A reader such as head has seen enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f"tessera: the result could not be printed: {error.strerror or error}.\n")
        return code or FAILURE
    return code
