"""``python -m tessera_core`` is the ``tessera`` command."""

import sys


def run() -> int:
    """The command, where Ctrl-C while its modules are still being read is a sentence, too."""
    try:
        from tessera_core.cli import main

        return main()
    except KeyboardInterrupt:
        print("tessera: Stopped before it began.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(run())
