"""The part of this program that needs PyTorch: whether it is here, and what to tell people where it is not.

Only making embeddings, training encoders, and the two heads that are neural networks need it; all else runs without.
"""

from __future__ import annotations

from importlib.util import find_spec

from tessera_core.errors import MissingPartError


def has_torch() -> bool:
    """Whether PyTorch is installed; nothing is loaded."""
    return find_spec("torch") is not None


def require_torch(what: str) -> None:
    """Refuse what cannot be done without PyTorch.

    Args:
        what: the subject of a sentence, such as "A neural network".

    Raises:
        MissingPartError: PyTorch is not installed.
    """
    if not has_torch():
        raise MissingPartError(
            f"{what} needs the part of this program that generates embeddings, which is not installed here: run `make generate` "
            "in its folder, or `pip install 'tessera-studio[generate]'`."
        )
