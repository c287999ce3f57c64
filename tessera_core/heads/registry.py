"""Heads by name: the tables of all heads, filled by the package, and how one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tessera_core.errors import HeadError
from tessera_core.heads.base import State
from tessera_core.heads.classification import Head
from tessera_core.heads.neighbourhood import NeighbourhoodHead, NeighbourhoodRegressionHead
from tessera_core.heads.regression import RegressionHead

if TYPE_CHECKING:
    from tessera_core.heads.choice import HeadChoice

# Filled by the package's own ``__init__``, because heads that hold heads look them up here.
HEADS: dict[str, type[Head]] = {}
# For labels that are numbers.
REGRESSION_HEADS: dict[str, type[RegressionHead]] = {}
# Fast enough to be refitted and repainted after every label.
INSTANT_HEADS = ("ridge", "logistic", "prototype", "knn", "auto")
# What a person chooses from, with what to expect; a tree is used where the project has one.
CHOICES: dict[str, str] = {
    "prototype": "Class means: instant, and the best with few labels.",
    "auto": "Automatic: instant; class means with few labels, more and more logistic regression with many.",
    "ridge": "Ridge: instant; as good with many labels.",
    "logistic": "Logistic regression: instant; for classes that overlap.",
    "knn": "Nearest neighbours: instant in small regions; for classes that have several faces.",
    "forest": "Random forest: seconds to minutes; for hundreds of labels.",
    "boosting": "Gradient boosting: seconds to minutes; for hundreds of labels.",
    "mlp": "Neural network: seconds; for hundreds of labels.",
    "unet": "U-Net: a minute or more; sees shapes, for labels that are polygons.",
}


def called(head: str) -> str:
    """What people call a head, given its name or its kind; what has no such name stays as it is.

    Example:
        >>> called("prototype"), called("PrototypeHead"), called("KNNHead 3x3"), called("RidgeRegressionHead")
        ('class means (prototype)', 'class means (prototype)', 'nearest neighbours (knn) 3x3', 'ridge-regression')
    """
    first, _, rest = head.partition(" ")
    name = next((name for name, kind in (HEADS | REGRESSION_HEADS).items() if first in (name, kind.__name__)), "")
    title = CHOICES.get(name, "").partition(":")[0]
    if not title:
        return f"{name} {rest}".strip() if name else head
    # A name of one's own, such as U-Net, keeps its capitals.
    title = title if title[1:2] == "-" else title[0].lower() + title[1:]
    text = title if title.replace("-", "").lower() == name else f"{title} ({name})"
    return f"{text} {rest}" if rest else text


def make_head(name: str | HeadChoice, *, neighbourhood: int = 1, **params: Any) -> Head:
    """An unfitted head by its name.

    Args:
        name: one of :data:`HEADS`, or a choice with options.
        neighbourhood: edge of the square around a pixel that the head looks at: 1 (the pixel alone), 3 or 5.
        params: of the head.

    Raises:
        HeadError: there is no such head or parameter.

    Example:
        >>> from tessera_core.heads import make_head
        >>> make_head("ridge", alpha=0.5)
        RidgeHead(alpha=0.5)
        >>> make_head("knn", neighbourhood=3).kind
        'KNNHead 3x3'
    """
    if not isinstance(name, str):
        return name.make(**params)
    head = _made(HEADS, name, params)
    return head if neighbourhood == 1 else NeighbourhoodHead(head, _checked(neighbourhood, head))


def make_regression_head(name: str, *, neighbourhood: int = 1, **params: Any) -> RegressionHead:
    """An unfitted head for numbers by its name, one of :data:`REGRESSION_HEADS`; see :func:`make_head`.

    Raises:
        HeadError: there is no such head or parameter.

    Example:
        >>> from tessera_core.heads import make_regression_head
        >>> make_regression_head("forest-regression", n_estimators=50)
        ForestRegressionHead(n_estimators=50)
    """
    head = _made(REGRESSION_HEADS, name, params)
    return head if neighbourhood == 1 else NeighbourhoodRegressionHead(head, _checked(neighbourhood, head))


def head_from_state(state: State) -> Head | RegressionHead:
    """The fitted head that was put away, see :meth:`~tessera_core.heads.base.RasterEstimator.state`.

    Raises:
        HeadError, KeyError, TypeError, ValueError, IndexError, RuntimeError: no head was, or it is damaged.
    """
    name, header = state.header["head"], state.header
    # Files of before say "context".
    neighbourhood = int(header.get("neighbourhood", header.get("context", 1)))
    if name in REGRESSION_HEADS:
        number = REGRESSION_HEADS[name].from_state(state)
        return number if neighbourhood == 1 else NeighbourhoodRegressionHead.over(number, neighbourhood)
    if name not in HEADS:
        raise HeadError(f"There is no head {name!r}; the heads are {', '.join(HEADS | REGRESSION_HEADS)}.")
    head = HEADS[name].from_state(state)
    return head if neighbourhood == 1 else NeighbourhoodHead.over(head, neighbourhood)


def _made[T](kinds: dict[str, type[T]], name: str, params: dict[str, Any]) -> T:
    if name not in kinds:
        other = REGRESSION_HEADS if kinds is HEADS else HEADS
        hint = " (that one is for numbers)" if kinds is HEADS else " (that one is for classes)"
        raise HeadError(f"There is no head {name!r}{hint if name in other else ''}; the heads are {', '.join(kinds)}.")
    try:
        return kinds[name](**params)
    except TypeError as error:
        known = ", ".join(kinds[name]().get_params())  # type: ignore[attr-defined]
        raise HeadError(f"The head {name!r} has no such parameter ({', '.join(params)}); it has {known}.") from error


def _checked(neighbourhood: int, head: Head | RegressionHead) -> int:
    if neighbourhood not in (3, 5):
        raise HeadError(f"The surroundings of a pixel are a square of 1, 3 or 5 pixels, not {neighbourhood!r}.")
    if head.receptive_radius:
        raise HeadError("A U-Net looks around by itself; use it without a neighbourhood.")
    return neighbourhood
