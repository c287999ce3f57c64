"""Which head, and with which options: a value that can be compared, hashed and kept in a project's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tessera_core.errors import HeadError
from tessera_core.heads.hierarchical import CONFIDENCE_THRESHOLD
from tessera_core.heads.registry import HEADS, make_head

if TYPE_CHECKING:
    from tessera_core.heads.classification import Head

# The best at 3 to 50 labels a class over our sites (docs/heads.md).
DEFAULT_HEAD = "prototype"
# Settings cannot hold None, which takes a setting away.
EVERY_LABEL = "every label"


@dataclass(frozen=True)
class HeadChoice:
    """A head of classes with its options.

    Attributes:
        name: one of ``HEADS``.
        neighbourhood: edge of the square around a pixel that it looks at: 1, 3 or 5.
        class_weight: ``"balanced"``, None, or pairs of class id and weight; the head's own rule where it is ``"own"``.
        parents: pairs ``(class id, id of the class above)`` of a class tree; empty for none.
        confidence_threshold: with a tree, the probability a class needs to be mapped instead of the one above it.
    """

    name: str = DEFAULT_HEAD
    neighbourhood: int = 1
    class_weight: str | tuple[tuple[int, float], ...] | None = "own"
    parents: tuple[tuple[int, int], ...] = ()
    confidence_threshold: float = CONFIDENCE_THRESHOLD

    def make(self, seed: int | None = None, **params: Any) -> Head:
        """An unfitted head of this choice.

        Args:
            seed: of everything random in it; None for the head's own. Heads that draw nothing, and trees, take none.
            params: of the head named, beside the options.

        Raises:
            HeadError: there is no such head, or the options do not go together.
        """
        weight = dict(self.class_weight) if isinstance(self.class_weight, tuple) else self.class_weight
        known = HEADS[self.name]().get_params() if self.name in HEADS else {}
        if weight != "own" and "class_weight" in known:
            params = params | {"class_weight": weight}
        if seed is not None and "seed" in known and not self.parents:
            params = params | {"seed": seed}
        if not self.parents:
            return make_head(self.name, neighbourhood=self.neighbourhood, **params)
        if self.name == "unet":
            raise HeadError("A U-Net knows no class trees; choose another head, or take the tree away.")
        options: dict[str, Any] = {
            "parents": self.parents,
            "head": self.name,
            "confidence_threshold": self.confidence_threshold,
        }
        if weight != "own":
            options["class_weight"] = weight
        return make_head("tree", neighbourhood=self.neighbourhood, **options)

    @classmethod
    def chosen(
        cls,
        head: str | None = None,
        neighbourhood: int | None = None,
        class_weight: str | Mapping[str, float] | None = None,
        confidence_threshold: float | None = None,
        parents: Mapping[int, int] | None = None,
    ) -> HeadChoice:
        """The choice that was made by settings of a project, None where nothing was chosen.

        Args:
            head, neighbourhood, confidence_threshold: as the fields.
            class_weight: ``"balanced"``, ``"every label"`` for every label the same, or weights by class id.
            parents: class id -> id of the class above, where the project has a tree.
        """
        weight: Any = "own" if class_weight is None else class_weight
        if isinstance(weight, Mapping):
            weight = tuple(sorted((int(i), float(w)) for i, w in weight.items()))
        elif weight == EVERY_LABEL:
            weight = None
        return cls(
            head or DEFAULT_HEAD,
            1 if neighbourhood is None else neighbourhood,
            weight,
            tuple(sorted((parents or {}).items())),
            CONFIDENCE_THRESHOLD if confidence_threshold is None else confidence_threshold,
        )
