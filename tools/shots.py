"""Pictures of every page in every state on every screen, light and dark, to be looked at by people; and what is wrong with each.

Usage: .venv/bin/python tools/shots.py [--screens 1024x768,390x844] [--sights label,export] [--themes light,dark]
Writes build/shots/SCREEN-THEME/SIGHT.png; needs Chromium. `make shots` runs it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.sights import FAULTS, SCREENS, SIGHTS, at_zoom, demo_project, look  # noqa: E402
from tests.servers import TOKEN, AppServer  # noqa: E402

FOLDER = ROOT / "build" / "shots"


def main() -> int:
    """Make the pictures; returns how many screens have faults."""
    from playwright.sync_api import Error, sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", default=",".join(SCREENS))
    parser.add_argument("--sights", default=",".join(sight.name for sight in SIGHTS))
    parser.add_argument("--themes", default="light,dark")
    wanted = parser.parse_args()
    sights = [sight for sight in SIGHTS if sight.name in wanted.sights.split(",")]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    faulty = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        os.environ["TESSERA_HOME"] = str(home)
        project = demo_project(home)
        server = AppServer(ROOT, home)
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for screen in wanted.screens.split(","):
                for theme in wanted.themes.split(","):
                    context = browser.new_context(**at_zoom(screen), color_scheme=theme)
                    context.request.get(f"{server.url}/?token={TOKEN}")
                    page = context.new_page()
                    (FOLDER / f"{screen}-{theme}").mkdir(parents=True, exist_ok=True)
                    for sight in sights:
                        try:
                            look(page, server.url, sight, project)
                            faults = page.evaluate(FAULTS)
                        except Error as error:
                            faults = [f"could not be brought there: {str(error).splitlines()[0]}"]
                        page.screenshot(path=FOLDER / f"{screen}-{theme}" / f"{sight.name}.png")
                        faulty += bool(faults)
                        print(f"{screen} {theme} {sight.name}: {len(faults)} faults", *faults, sep="\n    ", flush=True)
                    context.close()
        finally:
            server.stop()
    return faulty


if __name__ == "__main__":
    sys.exit(min(main(), 1))
