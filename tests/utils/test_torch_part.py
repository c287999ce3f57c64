"""What people are told where PyTorch is missing: what they can do, where they are."""

from __future__ import annotations

import pytest

from tessera_core._utils import torch_part
from tessera_core.errors import MissingPartError


def told(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch_part, "has_torch", lambda: False)
    with pytest.raises(MissingPartError) as caught:
        torch_part.require_torch("A neural network")
    return str(caught.value)


def test_beside_a_checkout_or_an_installed_package_it_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(torch_part.IMAGE_VARIABLE, raising=False)
    sentence = told(monkeypatch)
    assert "make generate" in sentence
    assert "tessera-studio[generate]" in sentence


def test_in_an_image_another_variant_is_named_and_nothing_that_cannot_be_done_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(torch_part.IMAGE_VARIABLE, "slim")
    sentence = told(monkeypatch)
    assert "instead of slim" in sentence
    assert "VARIANT=generate-cpu" in sentence
    assert "pip install" not in sentence
    assert "make generate" not in sentence
