"""What the image is made of, that nothing is forgotten when files move, and what a Space gets."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tessera_core._utils import native, torch_part
from tools import image, image_install


def test_what_the_image_copies_is_there_and_comes_with_it(root: Path) -> None:
    wanted = [line[1:] for line in (root / ".containerignore").read_text().splitlines() if line.startswith("!")]
    assert [name for name in wanted if not (root / name).exists()] == []
    text = (root / "Containerfile").read_text()
    copied = {word for line in re.findall(r"^COPY ((?!--from).*)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied - {"."} <= set(wanted)
    # All that pyproject.toml installs beside the package.
    assert {"app.py", "pages", ".streamlit/config.toml", "tessera_core", "README.md", "LICENSE"} <= set(wanted)
    # No secret of whoever builds it.
    assert not any("secrets" in name for name in wanted)


def test_pytorch_is_told_from_the_rest_of_the_pins(root: Path) -> None:
    pins = image_install.pins("requirements-dev.txt")
    torch = [pin for pin in pins if image_install.is_torch(pin)]
    assert any(pin.startswith("torch==") for pin in torch)
    assert not any(pin.startswith(("numpy==", "streamlit==")) for pin in torch)
    assert image_install.extra("auth")


@pytest.mark.skipif(native.find_compiler() is None, reason="no C compiler here")
def test_kernels_are_laid_into_the_installed_package(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", into], check=True)
    site = next(into.glob("lib/python3*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    wanted = shutil.ignore_patterns("*.kernels", "assets", "shipped", "__pycache__")
    shutil.copytree(root / "tessera_core", site / "tessera_core", ignore=wanted)
    # As in the folder that is built from.
    monkeypatch.chdir(root)
    image_install.kernels(into)
    assert len(list((site / "tessera_core/_utils").glob("*.kernels"))) == len(native.PORTABLE)
    # An image that would not take them is none.
    monkeypatch.setenv("TESSERA_NATIVE", "0")
    with pytest.raises(subprocess.CalledProcessError):
        image_install.kernels(into)


def test_the_image_says_which_variant_it_is(root: Path) -> None:
    final = (root / "Containerfile").read_text().split("\nFROM ")[-1]
    assert "ARG VARIANT" in final
    assert f"{torch_part.IMAGE_VARIABLE}=${{VARIANT}}" in final


def test_a_space_gets_all_that_its_dockerfile_copies(root: Path, tmp_path: Path) -> None:
    told = image.space(tmp_path / "space")
    space = tmp_path / "space"
    assert told["files"] > 100
    assert (space / "Dockerfile").read_bytes() == (root / "Containerfile").read_bytes()
    facts = yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert facts["sdk"] == "docker"
    port = re.search(r"STREAMLIT_SERVER_PORT=(\d+)", (space / "Dockerfile").read_text())
    assert port
    assert facts["app_port"] == int(port[1])
    assert not list(space.rglob("secrets.toml"))


def test_compose_keeps_the_studio_shut_in(root: Path) -> None:
    services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    studio, proxy = services["studio"], services["proxy"]
    assert studio["read_only"] is True
    assert studio["cap_drop"] == ["ALL"]
    # Only the proxy is reached from outside.
    assert "ports" not in studio
    assert studio["environment"]["TESSERA_HOSTED"] == "1"
    assert {"80:80", "443:443"} == set(proxy["ports"])
    files = [text.split(":")[0] for text in proxy["volumes"] if text.startswith("./")]
    files += re.findall(r"\./deploy/\S+?(?=[}:])", str(studio["volumes"]))
    assert all((root / name).is_file() for name in files)
    # Both are told the same place by one variable.
    assert "STUDIO_PATH" in studio["environment"]["STREAMLIT_SERVER_BASE_URL_PATH"]
    assert "STUDIO_PATH" in proxy["environment"]["STUDIO_PATH"]


def test_what_the_image_leaves_out_is_imported_by_notebooks_alone(root: Path) -> None:
    # Here the project itself is installed, too, and asked for by nobody.
    unasked = set(image_install.unneeded(Path(sys.prefix), "generate-cpu")) - {"tessera-studio"}
    assert {*image_install.NOTEBOOK, *image_install.UNLOADED} <= unasked
    assert {"huggingface-hub", "numba", "umap-learn"} <= set(image_install.unneeded(Path(sys.prefix), "slim"))
    assert not {"huggingface-hub", "numba", "umap-learn"} & unasked
    owners = packages_distributions()
    used: dict[str, str] = {}
    for path in [*(root / "tessera_core").rglob("*.py"), *(root / "pages").glob("*.py")]:
        inside = path.relative_to(root).as_posix()
        # A cluster is an extra that no image has; the last makes layers for notebooks in one function, which imports what it needs.
        if (
            inside.endswith(("session/notebook.py", "session/base_maps.py"))
            or "/bench/" in inside
            or "/cluster/" in inside
        ):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            used |= {owner.lower(): inside for name in names for owner in owners.get(name.split(".")[0], ())}
    assert {name: used[name] for name in unasked & set(used)} == {}


def test_the_cuda_that_is_asked_for_is_had_or_the_build_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[object, ...]] = []

    def unreachable(*command: object) -> None:
        ran.append(command)
        if "--torch-backend" in command:
            raise subprocess.CalledProcessError(2, [str(word) for word in command])

    monkeypatch.setattr(image_install, "run", unreachable)
    image_install.install_torch(["install"], "cuda")
    image_install.install_torch(["install"], "generate-cpu")
    with pytest.raises(subprocess.CalledProcessError):
        image_install.install_torch(["install"], "cuda", "cu126")
    assert ran == [
        ("install",),
        ("install", "--torch-backend", "cpu"),
        ("install",),
        ("install", "--torch-backend", "cu126"),
    ]
    held = image_install.torch_pins("cu126")
    assert any(pin.startswith("torch==") for pin in held)
    assert not any(pin.startswith(("nvidia-", "triton")) for pin in held)
    assert "ARG CUDA\n" in (root / "Containerfile").read_text()


def test_no_page_draws_a_chart_whose_library_the_image_lacks(root: Path) -> None:
    # Streamlit's own quick charts are drawn by altair and pydeck.
    wants = {"altair_chart", "area_chart", "bar_chart", "line_chart", "map", "pydeck_chart", "scatter_chart"}
    called = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in (root / "tessera_core" / "ui").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in wants and getattr(node.value, "id", "") == "st"
    ]
    assert called == []


def test_the_image_keeps_what_programs_load_and_leaves_the_rest(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.12/site-packages"
    large = bytes(image_install.SAME_BYTES)
    kept = {
        "numpy/testing/__init__.py": b"",
        "torch/test/__init__.py": b"",
        "torch/_inductor/kernel.h": b"",
        "pyarrow/_parquet.so": b"",
        "one/small.db": b"same",
        "two/small.db": b"same",
        "one/proj.db": large,
        "other/proj.db": large + b"!",
    }
    gone = (
        "numpy/tests/test_it.py",
        "joblib/test/test_it.py",
        "one/deep/tests/data/tests/it.txt",
        "one/made.pyx",
        "one/made.c",
        "one/script.js.map",
        "pyarrow/libarrow_s3.so.2600",
        "pyarrow/_s3fs.so",
        "plotly/labextension/package.json",
    )
    for name, content in {**kept, **dict.fromkeys(gone, b""), "two/proj.db": large}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    image_install.thin(tmp_path)
    assert {name: (site / name).read_bytes() for name in kept} == kept
    assert [name for name in gone if (site / name).exists()] == []
    # Linked by a way that holds wherever the whole is copied to.
    (tmp_path / "lib").rename(tmp_path / "moved")
    copy = tmp_path / "moved/python3.12/site-packages/two/proj.db"
    assert copy.is_symlink()
    assert copy.read_bytes() == large
