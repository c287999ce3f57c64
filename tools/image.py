"""Build the image of Tessera Studio, run it, and prove on this computer that it works; ``make image`` and ``make image-test``.

    python tools/image.py build --variant slim            # docker, or podman and buildah: what is there
    python tools/image.py run                             # http://localhost:8501
    python tools/image.py test --variant slim             # read-only, driven in Chromium: size, seconds, memory
    python tools/image.py memory --limit 1g --visitors 10 # so many people label at once in so much memory
    python tools/image.py base trixie                     # a Debian base where no registry of images is in reach
    python tools/image.py space FOLDER                    # what a Docker Space of Hugging Face wants

``test`` and ``memory`` print one JSON object. Where the program that runs containers needs more to be told (inside another
container, say), ``IMAGE_BUILD_OPTIONS`` and ``IMAGE_RUN_OPTIONS`` are put into its command line.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VARIANTS = ("slim", "generate-cpu", "cuda")
NAME = "tessera-studio"
LOCAL_BASE = "localhost/tessera-base"
# As the slim images of Debian and Python: without manuals and translations, with every licence.
_SLIM = (
    "exclude=/usr/share/doc/*",
    "include=/usr/share/doc/*/copyright",
    "exclude=/usr/share/info/*",
    "exclude=/usr/share/locale/*",
    "exclude=/usr/share/man/*",
)
START_SECONDS = 180
# Inside a container: memory of all its processes in bytes, what several share counted once.
_MEMORY = """
import glob
total = 0
for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
    try:
        total += sum(int(line.split()[1]) for line in open(path) if line.startswith("Pss:"))
    except OSError:
        continue
print(1024 * total)
"""


class Unable(Exception):
    """This computer lacks what is needed; says what."""


def say(text: str) -> None:
    """Tell what is going on, on stderr: stdout is for results."""
    print(f"[image] {text}", file=sys.stderr, flush=True)


def run(*command: object, timeout: float | None = None) -> str:
    """The output of a command.

    Raises:
        Unable: it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise Unable(f"{' '.join(words[:4])} ... failed ({done.returncode}): {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout.strip()


def engine() -> str:
    """The program that runs containers here: docker where it has a server, else podman.

    Raises:
        Unable: there is none.
    """
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return "docker"
    if shutil.which("podman"):
        return "podman"
    raise Unable("Neither docker (with its server running) nor podman is here. Install one of them.")


def tag(variant: str) -> str:
    """The name of an image."""
    return f"{NAME}:{variant}"


def options(name: str) -> list[str]:
    """Words of an environment variable, put into a command line."""
    return shlex.split(os.environ.get(name, ""))


# ----------------------------------------------------------------------------- building


def build(variant: str, base: str | None) -> dict[str, Any]:
    """Build a variant; its name, its size, and how long it took."""
    program, started = engine(), time.monotonic()
    arguments = ["--build-arg", f"VARIANT={variant}", *(["--build-arg", f"BASE={base}"] if base else [])]
    if program == "docker":
        command = ["docker", "build"]
    else:
        # The other form of image has no place for a health check.
        command = ["buildah", "bud"] if shutil.which("buildah") else ["podman", "build"]
        command += ["--format", "docker", "--ignorefile", str(ROOT / ".containerignore")]
    command += [*options("IMAGE_BUILD_OPTIONS"), *arguments, "-t", tag(variant), "-f", str(ROOT / "Containerfile")]
    say(" ".join([*command, "."]))
    if subprocess.run([*command, str(ROOT)], stdout=sys.stderr, check=False).returncode:
        raise Unable("The image could not be built; the lines above say why.")
    return {"image": tag(variant), "seconds": round(time.monotonic() - started), "mb": size(program, tag(variant))}


def size(program: str, image: str) -> int:
    """Megabytes of an image, as it lies on the disk."""
    return round(int(run(program, "image", "inspect", "--format", "{{.Size}}", image)) / 1e6)


def base(suite: str, packages: Sequence[str]) -> dict[str, Any]:
    """A Debian with Python as a base, made from packages: where no registry of images is in reach.

    Raises:
        Unable: mmdebstrap or podman is missing, or no mirror is in reach.
    """
    if not shutil.which("mmdebstrap"):
        raise Unable("mmdebstrap is missing: apt-get install mmdebstrap.")
    name = f"{LOCAL_BASE}:{suite}{'-' + packages[0] if packages else ''}"
    include = ",".join(["python3", "python3-venv", "python3-pip", "ca-certificates", *packages])
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "base.tar"
        excluded = [f"--dpkgopt=path-{rule}" for rule in _SLIM]
        run("mmdebstrap", "--variant=minbase", f"--include={include}", *excluded, suite, tar)
        run(engine(), "import", tar, name)
    return {"image": name, "mb": size(engine(), name)}


# ------------------------------------------------------------------------------ running


class Container:
    """A running container of the image.

    Args:
        variant: of the image.
        words: further options of ``run``.
        volume: a folder of this computer for /data; without one it has a volume of its own, which goes with it.
    """

    def __init__(self, variant: str, words: Sequence[str] = (), volume: Path | None = None) -> None:
        self.program, self.name = engine(), f"tessera-{secrets.token_hex(4)}"
        self.volume = str(volume) if volume is not None else self.name
        from tests.servers import free_port

        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.started = time.monotonic()
        run(
            *(self.program, *before(self.program), "run", "-d", "--name", self.name, "--read-only"),
            *("-v", f"{self.volume}:/data", "-p", f"127.0.0.1:{self.port}:8501"),
            *(*after(self.program), *words, tag(variant)),
        )

    def ready(self) -> float:
        """Seconds from its start until it answers.

        Raises:
            Unable: it ends, or never does.
        """
        while time.monotonic() < self.started + START_SECONDS:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        return round(time.monotonic() - self.started, 1)
            except OSError:
                if not self.state()["Running"]:
                    break
                time.sleep(0.1)
        raise Unable(f"It did not start: {self.log()[-2000:]}")

    def state(self) -> dict[str, Any]:
        """What the program knows of it: ``Running``, ``OOMKilled``, ``ExitCode`` and more."""
        return dict(json.loads(run(self.program, "inspect", "--format", "{{json .State}}", self.name)))

    def log(self) -> str:
        """All that it printed."""
        done = subprocess.run([self.program, "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def inside(self, *command: str) -> str:
        """The output of a command run in it."""
        return run(self.program, *before(self.program), "exec", self.name, *command)

    def memory_mb(self) -> int:
        """Megabytes of all its processes."""
        return round(int(self.inside("python3", "-c", _MEMORY)) / 1e6)

    def end(self) -> int:
        """Stop it as a server is stopped, and take it away; its exit code."""
        run(self.program, "stop", "-t", "30", self.name)
        code = int(self.state()["ExitCode"])
        self.remove()
        return code

    def remove(self) -> None:
        """Take it and its own volume away, whatever it is doing."""
        subprocess.run([self.program, "rm", "-f", self.name], capture_output=True, check=False)
        if self.volume == self.name:
            subprocess.run([self.program, "volume", "rm", "-f", self.name], capture_output=True, check=False)


def before(program: str) -> list[str]:
    """What stands before ``run`` and ``exec``: the program that starts podman's containers, where one must be named."""
    words = options("IMAGE_RUN_OPTIONS")
    return words[: words.index("--")] if "--" in words else []


def after(program: str) -> list[str]:
    """What stands after ``run``."""
    words = options("IMAGE_RUN_OPTIONS")
    return words[words.index("--") + 1 :] if "--" in words else words


@contextmanager
def container(variant: str, words: Sequence[str] = (), volume: Path | None = None) -> Iterator[Container]:
    """A container that is gone after the block."""
    found = Container(variant, words, volume)
    try:
        yield found
    finally:
        found.remove()


def test(variant: str) -> dict[str, Any]:
    """Start the image read-only, drive the label map in Chromium, stop it; what that took.

    Raises:
        Unable: something is missing here, or does not work in there.
    """
    with container(variant) as studio:
        told: dict[str, Any] = {"image": tag(variant), "mb": size(studio.program, tag(variant))}
        told["health_s"] = studio.ready()
        told["user"] = studio.inside("id", "-u")
        told["memory_started_mb"] = studio.memory_mb()
        run(studio.program, *before(studio.program), "exec", studio.name, "/bin/sh", "/opt/tessera/start.sh", "health")
        told |= drive(studio.url, studio.started)
        told["memory_one_visitor_mb"] = studio.memory_mb()
        told["written_outside_data"] = [
            line for line in run(studio.program, "diff", studio.name).splitlines() if outside(line)
        ]
        told["exit_code"] = studio.end()
    return told


def outside(line: str) -> bool:
    """Whether a line of ``diff`` names something that was written beside the volume and what every container gets."""
    path = line.split(maxsplit=1)[1]
    return not path.startswith(("/data", "/etc", "/run", "/dev", "/proc", "/sys", "/tmp", "/var/tmp"))


def drive(url: str, started: float, project: str = "") -> dict[str, Any]:
    """Open the demo region, make two classes and click each once, in Chromium; seconds since ``started`` to each step.

    Raises:
        Unable: there is no Chromium, or the class map does not follow the clicks.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Unable("Playwright is not installed: make env-test.") from error
    from tests.browser.studio import VIEW, Studio

    path = os.environ.get("TESSERA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise Unable("There is no Chromium on this computer.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", *options("IMAGE_CHROMIUM_OPTIONS")]
        )
        page = browser.new_context(viewport=VIEW, ignore_https_errors=True).new_page()
        told = label(Studio(page, url), started)
        browser.close()
    return told


def label(studio: Any, started: float) -> dict[str, Any]:
    """The labelling of :func:`drive`, in a page that is open."""
    import numpy as np

    told: dict[str, Any] = {}

    def reached(step: str) -> None:
        told[f"{step}_s"] = round(time.monotonic() - started, 1)

    studio.open()
    studio.button("Open the demo region").wait_for()
    reached("first_page")
    studio.button("Open the demo region").click()
    studio.button("Start labelling").wait_for(timeout=240_000)
    studio.button("Start labelling").click()
    studio.wait_for_map()
    reached("label_page")
    before_labels = studio.still(studio.map)
    box = studio.page.locator(".leaflet-pca-pane canvas").bounding_box()
    for number, (name, across) in enumerate((("wood", 0.25), ("water", 0.75)), 1):
        studio.add_class(name)
        studio.page.mouse.click(box["x"] + across * box["width"], box["y"] + 0.5 * box["height"])
        # Making a class and putting a label are an operation each.
        studio.settle(2 * number)
    reached("first_map")
    studio.page.mouse.move(5, 5)
    changed = float((np.abs(studio.still(studio.map).astype(int) - before_labels) > 24).any(-1).mean())
    told["labels"] = studio.classes()
    told["changed_share"] = round(changed, 3)
    if told["labels"] != {"wood": 1, "water": 1} or changed < 0.05:
        raise Unable(f"The class map did not follow the clicks: {told}")
    studio.close()
    return told


def memory(variant: str, limit: str, visitors: int, seconds: float) -> dict[str, Any]:
    """Let people label at once in a container with so much memory and no swap; what they saw, and whether anything was killed.

    Raises:
        Unable: something is missing here, or the container does not start.
    """
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "data"
        home.mkdir()
        # The image's user is not root.
        if os.geteuid() == 0:
            os.chown(home, 1000, 1000)
        home.chmod(0o777)
        with container(variant, ["--memory", limit, "--memory-swap", limit], home) as studio:
            told: dict[str, Any] = {"image": tag(variant), "limit": limit, "visitors": visitors}
            told["health_s"] = studio.ready()
            peak = [studio.memory_mb()]
            client = [sys.executable, "-m", "tessera_core.ui.visiting"]
            words = ["--visitors", str(visitors), "--seconds", str(seconds), "--every", "3", "--ask", "0"]
            visiting = subprocess.Popen([*client, studio.url, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            while visiting.poll() is None and studio.state()["Running"]:
                peak.append(studio.memory_mb())
                time.sleep(1)
            seen = visiting.communicate()[0]
            state = studio.state()
            told |= {"running": state["Running"], "oom_killed": bool(state.get("OOMKilled")), "peak_mb": max(peak)}
            told["killed_inside"] = killed(studio) if state["Running"] else None
            each = json.loads(seen)["visitors"] if seen else []
            clicks = [click for one in each for click in one.get("clicks", [])]
            told |= {"clicks": len(clicks), "answered": sum(click["acked"] for click in clicks)}
            told["scored"] = sum(one.get("last_score_s") is not None for one in each)
            told["problems"] = sorted({one["problem"] for one in each if one.get("problem")})
            if clicks:
                waits = sorted(click["ms"] for click in clicks)
                told["click_ms"] = {"median": waits[len(waits) // 2], "95%": waits[int(0.95 * (len(waits) - 1))]}
            # In there, because projects name paths of in there.
            inside = [
                studio.program,
                *before(studio.program),
                "exec",
                "-i",
                studio.name,
                "python3",
                "-m",
                "tessera_core.ui.visiting",
            ]
            checked = subprocess.run(
                [*inside, "--check", "/data"], input=seen, capture_output=True, text=True, check=False
            )
            told |= json.loads(checked.stdout) if checked.returncode == 0 else {"problems": [checked.stderr[-500:]]}
    told["ok"] = bool(
        told["running"]
        and not told["oom_killed"]
        and not told["killed_inside"]
        and clicks
        and told["answered"] == len(clicks)
        and not any(told.get(wrong, True) for wrong in ("lost_clicks", "mixed_labels", "wrong_pictures"))
    )
    return told


def killed(studio: Container) -> int | None:
    """How many processes the system killed in there for want of memory; None where it does not tell."""
    places = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
    for place in places:
        try:
            text = studio.inside("cat", place)
        except Unable:
            continue
        for line in text.splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


# ------------------------------------------------------------------------------- spaces


def space(folder: Path) -> dict[str, Any]:
    """Lay out what a Docker Space builds from: this checkout's files that go into the image, its README and its Dockerfile.

    Raises:
        Unable: the folder holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(path.name != ".git" for path in folder.iterdir()):
        raise Unable(f"{folder} is not empty; name a new folder, or the fresh clone of a new Space.")
    wanted = [line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")]
    listed = run("git", "-C", ROOT, "ls-files", "--", *wanted).splitlines()
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    shutil.copy2(ROOT / "Containerfile", folder / "Dockerfile")
    shutil.copy2(ROOT / ".containerignore", folder / ".dockerignore")
    shutil.copy2(ROOT / "deploy" / "space.md", folder / "README.md")
    return {"space": str(folder), "files": len(listed) + 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """One of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "run", "test", "memory"):
        command = commands.add_parser(name)
        command.add_argument("--variant", choices=VARIANTS, default="slim")
        if name == "build":
            command.add_argument("--base", help="base image instead of python:3.12-slim")
        if name == "run":
            command.add_argument("--port", type=int, default=8501)
        if name == "memory":
            command.add_argument("--limit", default="1g", help="memory as docker says it (default: 1g)")
            command.add_argument("--visitors", type=int, default=10)
            command.add_argument("--seconds", type=float, default=60)
    command = commands.add_parser("base")
    command.add_argument("suite", nargs="?", default="trixie", help="a Debian with Python 3.12 or newer")
    command.add_argument(
        "--with", dest="packages", action="append", default=[], help="a further package, e.g. python3-torch"
    )
    commands.add_parser("space").add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    try:
        match args.command:
            case "run":
                program = engine()
                words = ["run", "--rm", "--read-only", "-v", "tessera:/data", "-p", f"127.0.0.1:{args.port}:8501"]
                words = [
                    program,
                    *before(program),
                    *words,
                    *after(program),
                    "-e",
                    "TESSERA_HOSTED=0",
                    tag(args.variant),
                ]
                return subprocess.run(words, check=False).returncode
            case "build":
                told = build(args.variant, args.base)
            case "test":
                told = test(args.variant)
            case "memory":
                told = memory(args.variant, args.limit, args.visitors, args.seconds)
            case "base":
                told = base(args.suite, args.packages)
            case _:
                told = space(args.folder)
    except Unable as error:
        say(str(error))
        return 1
    print(json.dumps(told, indent=1))
    return 0 if told.get("ok", True) else 1


if __name__ == "__main__":
    sys.exit(main())
