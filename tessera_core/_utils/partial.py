"""What of many things could not be done while the rest was: named, with the reason; a command then ends with exit code 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Failure(NamedTuple):
    """A thing that was left out.

    Attributes:
        what: its name: a file, a tile, a year.
        why: a sentence.
    """

    what: str
    why: str

    def to_json(self) -> dict[str, str]:
        """JSON object."""
        return self._asdict()


def left_out_lines(result: Mapping[str, Any]) -> list[str]:
    """What a command's result says under ``failed``, for people."""
    return [f"Left out, {failure['what']}: {failure['why']}" for failure in result.get("failed", [])]
