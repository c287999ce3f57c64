"""What the tests of the engine share."""

from __future__ import annotations

import pytest

from tessera_core.inference import native


@pytest.fixture(params=["native", "torch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with the compiled kernels and without."""
    if request.param == "native" and not native.available():
        pytest.skip("no C compiler on this machine")
    if request.param == "torch":
        monkeypatch.setattr(native, "available", lambda: False)
    return str(request.param)
