"""What other packages do not promise to keep: used in one module each, and looked for here by name after every update.

A failure says which name a new version has taken away or changed; the module named in it is the only one to mend.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

HOMES = {
    "torch": "tessera_core/_utils/torch_private.py",
    "sklearn": "tessera_core/heads/sklearn_private.py",
    "geotessera": "tessera_core/sources/remote/geotessera_private.py",
}
# Names of fitted models, which no import statement shows.
FITTED = ("_baseline_prediction", "_predictors")


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _uses(tree: ast.AST) -> list[tuple[str, str]]:
    """(package, what) for every private name of the packages that a module imports or reaches through an import."""
    found, bound = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [(alias.name, alias.asname or alias.name.split(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        for name, local in imported:
            package = name.split(".")[0]
            if package in HOMES:
                bound[local] = package
                if any(_private(part) for part in name.split(".")):
                    found.append((package, name))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not _private(node.attr):
            continue
        root = node.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in bound:
            found.append((bound[root.id], ast.unparse(node)))
        elif node.attr in FITTED:
            found.append(("sklearn", ast.unparse(node)))
    return found


def test_private_names_of_others_stand_in_one_module_each(root: Path) -> None:
    guilty = []
    for path in sorted((root / "tessera_core").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        uses = _uses(ast.parse(path.read_text(encoding="utf-8")))
        guilty += [f"{name}: {what}, which belongs into {HOMES[of]}" for of, what in uses if HOMES[of] != name]
    assert guilty == []


def test_a_private_name_is_seen_however_it_is_reached() -> None:
    text = "import torch\nfrom geotessera import registry as r\nfrom sklearn.tree._tree import Tree\n"
    text += "torch._int_mm(a, b)\ntorch.ops.mkldnn._x\nr._parse(v)\nmodel._predictors\nself._own\n"
    assert {package for package, _ in _uses(ast.parse(text))} == set(HOMES)
    assert len(_uses(ast.parse(text))) == 5


def _asks(module: str, name: str, work):  # type: ignore[no-untyped-def]
    """The work's result, or a failure that names what broke and where it is mended."""
    try:
        return work()
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        pytest.fail(f"{name} is gone or has changed ({type(error).__name__}: {error}); mend {HOMES[module]}.")


def test_torch_still_has_the_integer_product() -> None:
    import torch

    from tessera_core._utils.torch_private import int8_product

    left = torch.randint(-127, 128, (24, 128), dtype=torch.int8)
    right = torch.randint(-127, 128, (128, 64), dtype=torch.int8)
    got = _asks("torch", "torch._int_mm", lambda: int8_product(left, right))
    assert torch.equal(got, left.int() @ right.int()), f"torch._int_mm is not exact; mend {HOMES['torch']}."


def test_torch_still_has_onednns_linear_layers() -> None:
    import torch

    from tessera_core._utils import torch_private as private

    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    assert private.HAS_ONEDNN, f"torch.ops.mkldnn has lost one of {private._NAMES}; mend {HOMES['torch']}."
    x, weight, bias, other = torch.randn(70, 32), torch.randn(48, 32), torch.randn(48), torch.randn(70, 48)
    packed = _asks("torch", "mkldnn._reorder_linear_weight", lambda: private.packed_weight(weight))
    want = torch.nn.functional.linear(x, weight, bias)
    for name, got, expected in (
        ("_linear_pointwise", lambda: private.linear(x, packed, bias), want),
        ("_linear_pointwise with relu", lambda: private.linear(x, packed, bias, "relu"), want.relu()),
        ("_linear_pointwise.binary", lambda: private.linear_plus(x, other, packed, bias), want + other),
    ):
        torch.testing.assert_close(_asks("torch", f"mkldnn.{name}", got), expected, rtol=1e-4, atol=1e-4)
    missing = [name for name in private._PROCESSOR if not hasattr(torch.cpu, name)]
    # They only choose bfloat16 by default, so that one of two is enough.
    assert len(missing) < len(private._PROCESSOR), f"torch.cpu has lost {missing}; mend {HOMES['torch']}."


@pytest.mark.parametrize("classes", [2, 3])
def test_scikit_learns_boosted_trees_predict_from_their_arrays(classes: int) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    from tessera_core.heads import sklearn_private as private

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    model = HistGradientBoostingClassifier(max_iter=4).fit(X, (X[:, 0] * classes).round() % classes)
    start = _asks("sklearn", "_baseline_prediction", lambda: private.boosted_start(model))
    nodes = _asks("sklearn", "_predictors[..].nodes", lambda: private.boosted_nodes(model))
    assert nodes[0].dtype == _asks("sklearn", "PREDICTOR_RECORD_DTYPE", private.boosted_dtype)
    threads = _asks("sklearn", "_openmp_effective_n_threads", private.openmp_threads)
    raw = np.tile(start, (len(X), 1))
    for number, one in enumerate(nodes):
        tree = _asks("sklearn", "TreePredictor", lambda one=one: private.BoostedTree(one, 5))
        raw[:, number % len(start)] += _asks(
            "sklearn", "TreePredictor.predict", lambda tree=tree: tree.predict(X, threads)
        )
    np.testing.assert_allclose(raw.squeeze(), model.decision_function(X))


def test_scikit_learns_trees_come_back_from_their_arrays() -> None:
    from sklearn.tree import DecisionTreeClassifier

    from tessera_core.heads import sklearn_private as private

    X = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    fitted = DecisionTreeClassifier(max_depth=4).fit(X, X[:, 1] > 0.2).tree_
    state = _asks("sklearn", "Tree.__getstate__", lambda: private.tree_state(fitted))
    assert state["nodes"].dtype == _asks("sklearn", "NODE_DTYPE", private.tree_dtype)
    again = _asks(
        "sklearn", "Tree.__setstate__", lambda: private.tree_of(state["nodes"], state["values"], state["max_depth"], 4)
    )
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_geotessera_still_parses_versions() -> None:
    from geotessera import registry

    from tessera_core.sources.remote.geotessera_private import version_parts

    found = _asks("geotessera", "registry._parse_dataset_version", lambda: version_parts("1.1"))
    assert found == ("v1.1", "1.1")
    assert version_parts(registry.DEFAULT_VERSION)[1] in {entry.version for entry in registry.DATASETS}
