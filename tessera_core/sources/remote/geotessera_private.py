"""What we use of geotessera that it does not promise to keep; nothing else of ours names it.

``tests/test_private_apis.py`` says by name what a new geotessera has taken away.
"""

from __future__ import annotations


def version_parts(version: str) -> tuple[str, str]:
    """A dataset's version as it stands in addresses of the publisher, and as it is written: ``("v1.1", "1.1")``.

    Example:
        >>> version_parts("1")[1]
        '1.0'
    """
    from geotessera import registry

    folder, written = registry._parse_dataset_version(version)[:2]
    return str(folder), str(written)
