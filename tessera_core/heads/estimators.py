"""The classes of scikit-learn that heads are made of, with the types that scikit-learn does not give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin"]

if TYPE_CHECKING:

    class BaseEstimator:
        """Parameters by name, copies, and what an estimator says of itself."""

        # Bodies would be scikit-learn's.
        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Parameter -> value; ``deep`` also of estimators within."""

        def set_params(self, **params: Any) -> Self:
            """Change parameters in place."""

        def __getstate__(self) -> dict[str, Any]: ...
        def __sklearn_tags__(self) -> Any: ...

    class ClassifierMixin:
        """``score`` is accuracy."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """The share of right answers."""

    class RegressorMixin:
        """``score`` is R2."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """The coefficient of determination."""

else:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
