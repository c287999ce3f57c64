"""``python -m tessera_core`` is the ``tessera`` command."""

from tessera_core.cli import main

raise SystemExit(main())
