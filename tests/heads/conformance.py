"""Which of scikit-learn's checks of estimators the heads do not pass, and why; the table of docs/heads.md is made of it.

    python -m tests.heads.conformance

writes the table anew. That it is true, ``test_scikit_learn.py`` shows: what is declared must fail, all else must pass.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.utils.estimator_checks import estimator_checks_generator

from tessera_core.heads import HEADS, REGRESSION_HEADS

DOCS = Path(__file__).parents[2] / "docs" / "heads.md"
MARK = "<!-- scikit-learn's checks -->"

# Small enough for sixty checks, large enough to learn what they ask.
QUICK = {
    "forest": {"n_estimators": 10},
    "boosting": {"rounds": 20},
    "mlp": {"hidden": (16,), "steps": 40, "epochs": 1, "learning_rate": 0.03},
    "forest-regression": {"n_estimators": 10},
    "mlp-regression": {"hidden": (8,), "steps": 40, "epochs": 1, "members": 2, "learning_rate": 0.03},
}
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
LEFT_OUT = (
    "penalty and temperature are chosen by leaving labels out, and a label that is there twice is not left out of its twin "
    "(with one penalty the coefficients are the same)"
)
DECLARED: dict[str, dict[str, str]] = {
    "ridge": {WEIGHTS: LEFT_OUT},
    "logistic": {},
    "auto": {WEIGHTS: "as prototype, which is part of it"},
    "prototype": {WEIGHTS: "how far the covariance is trusted, and the temperature, come from the number of labels"},
    "knn": {WEIGHTS: "neighbours are counted; of weights only 0 tells, which leaves a label out"},
    "forest": {WEIGHTS: "each tree draws labels, not their weights"},
    "boosting": {WEIGHTS: "the least number of labels in a leaf follows their number"},
    "mlp": {WEIGHTS: "batches are drawn of labels, not of their weights"},
    "tree": {
        WEIGHTS: "as ridge, which is its head at each branching",
        "check_classifiers_classes": "a tree is of class ids; names are refused in a sentence",
    },
    "ridge-regression": {WEIGHTS: "as ridge"},
    "forest-regression": {WEIGHTS: "as forest"},
    "mlp-regression": {WEIGHTS: "as mlp"},
}
# Each trains too long to be taught three hundred times on every run; what they share with the others is checked there.
PATIENT = ("mlp", "mlp-regression", "boosting")
ABSENT = {"unet": "learns from places of a raster, not from vectors: it has no `fit` to check (`wants_raster`)"}


def estimators(patient: bool | None = None):
    """Every head that can be checked, small; only the :data:`PATIENT`, or only the others."""
    names = [name for name in HEADS | REGRESSION_HEADS if name not in ABSENT and patient in (None, name in PATIENT)]
    return [(HEADS | REGRESSION_HEADS)[name](**QUICK.get(name, {})) for name in names]


def declared(estimator):
    """Checks that this head is known to fail, each with its reason."""
    return DECLARED[estimator.name]


def table():
    """The table of docs/heads.md."""
    lines = ["| head | checks passed | declared, with the reason | undeclared |", "|---|---|---|---|"]
    for estimator in estimators():
        failing = declared(estimator)
        names = [check.func.__name__ for _, check in estimator_checks_generator(estimator, mark=None)]
        passed = sum(name not in failing and name != "check_array_api_input" for name in names)
        reasons = "; ".join(f"`{name}`: {reason}" for name, reason in failing.items()) or "none"
        lines.append(f"| {estimator.name} | {passed} | {reasons} | 0 |")
    return "\n".join([*lines, *(f"| {name} | 0 | {reason} | 0 |" for name, reason in ABSENT.items())])


if __name__ == "__main__":
    before, _, after = DOCS.read_text(encoding="utf-8").split(MARK)
    DOCS.write_text(f"{before}{MARK}\n{table()}\n{MARK}{after}", encoding="utf-8")
