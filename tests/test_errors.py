"""Errors say by a hint where they can be put right; the sentence itself names no page."""

import pickle

import pytest

from tessera_core import errors
from tessera_core.errors import Hint, LabelError, TesseraError


@pytest.mark.parametrize("hint", [None, *Hint])
def test_a_hint_survives_the_way_from_another_process(hint: Hint | None) -> None:
    again = pickle.loads(pickle.dumps(LabelError("There are no labels yet.", hint=hint)))
    assert (type(again), str(again), again.hint) == (LabelError, "There are no labels yet.", hint)


def test_every_error_takes_a_hint_or_has_none() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TesseraError)]
    own = {errors.MixedDatasetsError, errors.Cancelled}
    assert all(kind("wrong", hint=Hint.PLOTS).hint == Hint.PLOTS for kind in kinds if kind not in own)
    assert errors.Cancelled().hint is None
    assert errors.MixedDatasetsError("a", "b").hint is None


def test_the_app_has_a_page_for_every_hint() -> None:
    from tessera_core.ui.shell import _PAGES

    assert set(_PAGES) == set(Hint)
