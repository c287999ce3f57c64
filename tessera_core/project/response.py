"""What stands behind an answer of a validation: how sure, why not, from what, by whom and when."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec

from tessera_core.labels.model import clean_name

MAX_TEXT = 120
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands behind the answer for a place.

    Attributes:
        confidence: ``"sure"`` or ``"probably"``; empty where it was not said, as for "cannot tell".
        reason: why it could not be told.
        evidence: what was looked at.
        evidence_date: of that, as it was typed.
        interpreter: who answered, as they call themselves.
        at: when, UTC, ``YYYY-MM-DDTHH:MM:SSZ``.
    """

    confidence: Literal["sure", "probably", ""] = ""
    reason: Text = ""
    evidence: Text = ""
    evidence_date: Text = ""
    interpreter: Text = ""
    at: Annotated[str, msgspec.Meta(pattern=r"\A(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?\Z")] = ""


class Opinion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one person said of a place.

    Attributes:
        class_id: 0 for "cannot tell".
        response: what stands behind it; its ``interpreter`` is the person, empty for one who gave no name.
    """

    class_id: Annotated[int, msgspec.Meta(ge=0)] = 0
    response: Response = Response()


def respond(
    confidence: Literal["sure", "probably", ""] = "",
    *,
    reason: str = "",
    evidence: str = "",
    evidence_date: str = "",
    interpreter: str = "",
) -> Response:
    """A response of this moment, its texts one line each."""
    texts = (clean_name(text, MAX_TEXT) for text in (reason, evidence, evidence_date, interpreter))
    reason, evidence, evidence_date, interpreter = texts
    now = dt.datetime.now(dt.UTC)
    return Response(
        confidence=confidence,
        reason=reason,
        evidence=evidence,
        evidence_date=evidence_date,
        interpreter=interpreter,
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
    )
