"""The part of this program that needs PyTorch: whether it is here, and what to tell people where it is not.

Only making embeddings, training encoders, and the two heads that are neural networks need it; all else runs without.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from tessera_core.errors import MissingPartError

# What the image says of itself; see the Containerfile.
IMAGE_VARIABLE = "TESSERA_IMAGE"


def has_torch() -> bool:
    """Whether PyTorch is installed; nothing is loaded."""
    return find_spec("torch") is not None


def how_to_add() -> str:
    """The end of a sentence on what to do for want of it: in an image, which is never changed, another variant."""
    variant = os.environ.get(IMAGE_VARIABLE)
    if variant:
        return (
            f"run the image in its variant generate-cpu, or cuda for an NVIDIA GPU, instead of {variant} "
            "(it is built with `--build-arg VARIANT=generate-cpu`; what is in /data stays)"
        )
    return "run `make generate` in its folder, or `pip install 'tessera-studio[generate]'`"


def require_torch(what: str) -> None:
    """Refuse what cannot be done without PyTorch.

    Args:
        what: the subject of a sentence, such as "A neural network".

    Raises:
        MissingPartError: PyTorch is not installed.
    """
    if not has_torch():
        raise MissingPartError(
            f"{what} needs the part of this program that generates embeddings, which is not installed here: {how_to_add()}."
        )
