"""Shares: all of them together have each thing once, and a job array's task knows its own."""

from __future__ import annotations

import pytest

from tessera_core._utils.share import Share
from tessera_core.errors import InputError


@pytest.mark.parametrize("of", [1, 2, 5, 9])
def test_all_shares_together_have_each_thing_once(of: int) -> None:
    things = list(range(7))
    parts = [Share(number, of).take(things) for number in range(1, of + 1)]
    assert sorted(thing for part in parts for thing in part) == things
    for number in range(1, of + 1):
        whole = Share(number, of)
        assert sorted(t for part in whole.split(3) for t in part.take(things)) == whole.take(things)


@pytest.mark.parametrize(
    ("text", "environment", "share"),
    [
        ("3/40", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "10"}, Share(3, 40)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Share(1, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "4",
                  "SLURM_ARRAY_TASK_STEP": "2"}, Share(4, 4)),
        ("auto/6", {"JOB_COMPLETION_INDEX": "5"}, Share(6, 6)),
    ],
)  # fmt: skip
def test_what_is_written_and_what_a_job_array_says(text: str, environment: dict[str, str], share: Share) -> None:
    assert Share.parse(text, environment) == share


@pytest.mark.parametrize(
    ("text", "words"), [("0/3", "counted from 1"), ("4/3", "no share 4"), ("half", "I/N"), ("auto", "SLURM")]
)
def test_what_is_no_share_gets_one_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Share.parse(text, {})
    with pytest.raises(InputError, match="add /N"):
        Share.parse("auto", {"JOB_COMPLETION_INDEX": "2"})
