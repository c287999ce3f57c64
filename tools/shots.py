"""Pictures of every page in every state on every screen, light and dark, to be looked at by people; and what is wrong with each.

Usage: .venv/bin/python tools/shots.py [--screens 1024x768,390x844] [--sights label,export] [--themes light,dark] [--axe]
Writes build/shots/SCREEN-THEME/SIGHT.png; needs Chromium. `make shots` runs it. With --axe (after `make node`) it ends
with the table of docs/accessibility.md: what axe-core finds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.sights import FAULTS, SCREENS, SIGHTS, at_zoom, demo_project, look, violations  # noqa: E402
from tests.servers import TOKEN, AppServer  # noqa: E402

FOLDER = ROOT / "build" / "shots"
IMPACTS = ("critical", "serious", "moderate", "minor")


def table(found: dict[str, dict[str, Counter[str]]]) -> str:
    """Markdown: a row for each sight, a column for each screen, in each how much axe-core found of every impact."""
    screens = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(screens)} |", f"|:--|{':-:|' * len(screens)}"]
    for sight, counts in found.items():
        cells = [" / ".join(str(counts[screen][impact]) for impact in IMPACTS) for screen in screens]
        lines.append(f"| {sight} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Make the pictures; returns how many screens have faults."""
    from playwright.sync_api import Error, sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", default=",".join(SCREENS))
    parser.add_argument("--sights", default=",".join(sight.name for sight in SIGHTS))
    parser.add_argument("--themes", default="light,dark")
    parser.add_argument("--axe", action="store_true")
    wanted = parser.parse_args()
    sights = [sight for sight in SIGHTS if sight.name in wanted.sights.split(",")]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    faulty = 0
    found: dict[str, dict[str, Counter[str]]] = {sight.name: {} for sight in sights}
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
                    context = browser.new_context(**at_zoom(screen), color_scheme=theme, bypass_csp=wanted.axe)
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
                        if wanted.axe:
                            axe = violations(page)
                            found[sight.name][f"{screen} {theme}"] = Counter(impact for impact, _, _ in axe)
                            faults += [told for _, _, told in axe]
                        faulty += bool(faults)
                        print(f"{screen} {theme} {sight.name}: {len(faults)} faults", *faults, sep="\n    ", flush=True)
                    context.close()
        finally:
            server.stop()
    if wanted.axe:
        print(table(found))
    return faulty


if __name__ == "__main__":
    sys.exit(min(main(), 1))
