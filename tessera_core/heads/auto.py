"""Class means and logistic regression together: with few labels the first, the more labels the more of the second.

Class means are mostly the better with few labels; from tens of labels a class on logistic regression wins on some ground and not on
other (docs/heads.md), and the labels can hardly say which this is. Between the two one is near the better of them on either. Both
are linear in the embedding, so what lies between is linear as well, and a map costs what it did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core.heads.linear import LinearHead
from tessera_core.heads.logistic import LogisticHead
from tessera_core.heads.prototype import PrototypeHead
from tessera_core.heads.training import ClassWeight, independent
from tessera_core.types import Floats

# Labels a class at which both count the same (docs/heads.md says how it was chosen).
EVEN = 10.0


class AutoHead(LinearHead):
    """The mean of the log-odds of class means and of logistic regression, weighted by how many labels there are.

    With ``n`` independent labels a class (pixels of one label count as :func:`~tessera_core.heads.training.independent` says)
    logistic regression counts ``n / (n + 10)``, and alone where no class has two labels. Scores on places held out teach it
    anew, so they judge the mixture.

    Args:
        class_weight: ``"balanced"`` gives every class the same say, None every label; or weights by class id.

    Attributes:
        logistic_share_: how much logistic regression counts, 0..1; there only after a fit.
        labels_a_class_: independent labels a class, likewise.

    Example:
        >>> X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> head = AutoHead().fit(X, [1, 1, 2, 2])
        >>> round(head.logistic_share_, 3)
        0.167
        >>> head.predict([[0.8, 0.1]]).tolist()
        [2]
    """

    name = "auto"
    logistic_share_: float
    labels_a_class_: float

    def __init__(self, class_weight: ClassWeight = "balanced") -> None:
        self.class_weight = class_weight

    def _solve(self, X: Floats, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> None:
        self.labels_a_class_ = independent(self._groups, len(X)) / (int(targets.max()) + 1)
        # Of single labels class means learn no spread, and logistic regression is the better.
        single = len(X) == int(targets.max()) + 1
        self.logistic_share_ = share = 1.0 if single else self.labels_a_class_ / (self.labels_a_class_ + EVEN)
        coef = np.zeros((X.shape[1], 1))
        intercept = np.zeros(1)
        for part, counts in ((PrototypeHead(), 1 - share), (LogisticHead(), share)):
            if counts == 0:
                continue
            # Both get the weights that the classes have here already.
            part._groups = self._groups
            part._solve(X, targets, weight)
            # What is common to all classes changes no probability, and the two heads differ in it.
            coef = coef + counts * (part.coef_ - part.coef_.mean(1, keepdims=True))
            intercept = intercept + counts * (part.intercept_ - part.intercept_.mean())
        self._set(coef, intercept)


def reason(head: object) -> str:
    """Why a fitted head is what it is, in a sentence for people; empty where it is no :class:`AutoHead` that was just taught.

    Example:
        >>> reason(AutoHead().fit([[0.0], [0.1], [1.0], [0.9]], [1, 1, 2, 2]))
        'Class means count 83 %, logistic regression 17 % (labels a class: about 2).'
        >>> reason(PrototypeHead())
        ''
    """
    head = getattr(head, "head", head)
    share = getattr(head, "logistic_share_", None)
    if share is None:
        return ""
    labels, percent = max(1, round(getattr(head, "labels_a_class_", 0.0))), round(100 * share)
    if percent == 100:
        return "Logistic regression, because no class has two labels yet; from two on class means take part."
    part = 100 - percent
    return f"Class means count {part} %, logistic regression {percent} % (labels a class: about {labels})."
