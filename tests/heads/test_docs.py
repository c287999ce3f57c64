"""What the docstrings of heads show is what happens."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

from tessera_core import heads

MODULES = [name for _, name, _ in pkgutil.iter_modules(heads.__path__, f"{heads.__name__}.")]
SHOWN = [*(heads.HEADS | heads.REGRESSION_HEADS).values(), heads.NeighbourhoodHead, heads.NeighbourhoodRegressionHead]
SHOWN += [heads.make_head, heads.make_regression_head]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: one.__name__)
def test_every_head_and_door_has_an_example_and_tells_its_arguments(shown):
    text = inspect.getdoc(shown) or ""
    assert ">>>" in text
    assert "Args:" in text or not inspect.signature(shown).parameters or shown is heads.make_regression_head
