"""``tessera app``: finding the pages, the port and the project; the server itself is tested in tests/browser."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tessera_core.cli import app, main
from tessera_core.errors import InputError, TesseraError
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tests.servers import free_port


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where the app would have been served."""
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(app, "serve", lambda script, address, port, headless: calls.append((address, port)))
    return calls


def test_pages_are_found_in_the_checkout(root: Path) -> None:
    assert app.app_script() == root / "app.py"


def test_missing_pages_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tessera_core

    monkeypatch.setattr(tessera_core, "__file__", str(tmp_path / "tessera_core" / "__init__.py"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(TesseraError, match="not found"):
        app.app_script()
    pages = tmp_path / "share" / "tessera-studio" / "pages"
    pages.mkdir(parents=True)
    (pages / "region.py").touch()
    (pages.parent / "app.py").touch()
    assert app.app_script() == pages.parent / "app.py"


def test_taken_port_is_bad_input_and_another_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} is in use.* next free one is") as refused:
            app.check_port("127.0.0.1", port)
        other = int(re.search(r"--port (\d+)", str(refused.value))[1])
        assert other != port
        assert app.check_port("127.0.0.1", other) == other
    with pytest.raises(InputError, match="not a port"):
        app.check_port("127.0.0.1", 70_000)
    assert app.free_port("127.0.0.1") in range(8501, 8551)


def test_settings_of_streamlit_in_the_environment_hold_unless_an_option_says_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, int, bool]] = []
    monkeypatch.setattr(app, "serve", lambda script, address, port, headless: calls.append((address, port, headless)))
    free, other = app.free_port("127.0.0.1"), free_port()
    monkeypatch.setenv("STREAMLIT_SERVER_PORT", str(free))
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "127.0.0.1")
    monkeypatch.setenv("STREAMLIT_SERVER_HEADLESS", "true")
    assert main(["app"]) == 0
    assert main(["app", "--port", str(other), "--address", "localhost"]) == 0
    assert calls == [("127.0.0.1", free, True), ("localhost", other, True)]
    for name, wrong in (("PORT", "eighty"), ("HEADLESS", "perhaps")):
        monkeypatch.setenv(f"STREAMLIT_SERVER_{name}", wrong)
        assert main(["app"]) == 2
        assert f"STREAMLIT_SERVER_{name} is '{wrong}'" in capsys.readouterr().err
        monkeypatch.delenv(f"STREAMLIT_SERVER_{name}")
    assert len(calls) == 2


def test_project_file_is_unpacked_and_opened(
    home: Path, project: Project, tmp_path: Path, served: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_PROJECT", "")
    file = project.export_file(tmp_path / "mine.tessera")
    assert main(["app", "--headless", "--project", str(file)]) == 0
    opened = Path(os.environ["TESSERA_PROJECT"])
    assert opened.parent == projects_home()
    assert opened != project.folder
    assert served[0][0] == "localhost"


@pytest.mark.parametrize("content", [None, b"not a project"])
def test_wrong_project_is_exit_code_2_and_nothing_is_served(
    home: Path, tmp_path: Path, served: list, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.tessera"
    if content is not None:
        path.write_bytes(content)
    assert main(["app", "--headless", "--project", str(path)]) == 2
    assert served == []
    assert capsys.readouterr().err.startswith("tessera app: ")


def test_a_limit_that_is_no_number_is_told_before_anything_is_served(
    home: Path, root: Path, served: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESSERA_MAX_PEOPLE", "thirty")
    assert main(["app", "--headless"]) == 2
    assert served == []
    assert "TESSERA_MAX_PEOPLE is 'thirty'" in capsys.readouterr().err
    app = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", "0", "--server.headless", "true"]
    done = subprocess.run(app, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("TESSERA_MAX_PEOPLE is 'thirty'")
    assert "Traceback" not in done.stderr
