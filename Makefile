# Two commands are all a newcomer needs: `make app` and `make test`.
PYTHON3 ?= python3
WORKERS ?= 2
BIN := .venv/bin
# Many machines that only run checks ask Python not to keep what it compiled. Then every process that a test starts compiles all of
# Streamlit, SciPy and PyTorch anew, which takes as long again as importing them.
unexport PYTHONDONTWRITEBYTECODE
export TESSERA_CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: help app generate test test-all unit lint lint-js test-js format node env env-test browser browsers bench check-live requirements image image-test docs docs-pictures shots coverage plugin words clean

help:
	@echo "make app           open Tessera Studio on the demo region (GENERATE=1: with the part that generates embeddings; CLASS=1: for a class)"
	@echo "make generate      add that part, which needs PyTorch (2.5 to 6 GB in all)"
	@echo "make test          lint, type check and run every test"
	@echo "make test-all      the same, and what takes many minutes (crowds of visitors, fuzzing)"
	@echo "make bench         measure this machine"
	@echo "make env           only set up .venv, with the tested versions (UNPINNED=1: with the newest)"
	@echo "make docs          build the documentation site and run what it shows"
	@echo "make shots         pictures of every page on every screen, to be looked at"
	@echo "make plugin        the QGIS plugin as a zip"
	@echo "make lint format   check, or mend, the code's form"
	@echo "make test-js       the tests of the maps' JavaScript alone"

# The tested versions of requirements-dev.txt; UNPINNED=1 takes the newest that pyproject.toml allows.
BOOTSTRAP := $(PYTHON3) tools/bootstrap.py $(if $(UNPINNED),--unpinned)

# PyTorch only where it is asked for or a graphics card can use it: all that works with embeddings does without.
env:
	@$(BOOTSTRAP) --generate-where-useful $(if $(GENERATE),generate)

generate:
	@$(BOOTSTRAP) generate

env-test:
	@$(BOOTSTRAP) test lint

app: env
	@$(BIN)/tessera app $(if $(CLASS),--class) $(ARGS)

lint: env-test lint-js
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The browser's half, with tools from npm; where Node or the network is missing, these say so and go on.
lint-js: node
	@$(PYTHON3) tools/javascript.py lint

test-js: node
	@$(PYTHON3) tools/javascript.py test

format: env-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(PYTHON3) tools/javascript.py format

# Browsers for the browser tests: installed where apt and root exist, otherwise those tests skip and say so.
APT_INSTALL := { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
browser:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		wanted="$$([ -n "$(TESSERA_CHROMIUM)" ] || echo chromium) $$({ command -v firefox-esr || command -v firefox; } >/dev/null || echo firefox-esr)"; \
		[ -z "$${wanted# }" ] || { echo "[setup] Installing $$wanted for the browser tests ..."; \
		$(APT_INSTALL) $$wanted; } >/dev/null || echo "[setup] They could not be installed; their tests will be skipped."; }; \
	fi

# WebKit, too, for the session in every browser that `make test-all` runs: GTK's, on a screen that nobody sees.
browsers: browser
	@{ command -v WebKitWebDriver && command -v Xvfb; } >/dev/null || $(APT_INSTALL) webkit2gtk-driver xvfb; } >/dev/null || echo "WebKit could not be installed (it needs apt and root); its test will be skipped."

# Node for those checks: installed where apt and root exist.
node:
	@if ! command -v node >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "[setup] Installing Node for the checks of the JavaScript ..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null \
		|| echo "[setup] Node could not be installed."; \
	fi

# Two at a time, a file each; one thread a test, because torch's threads wait for each other where cores are shared.
test: env-test browser lint test-js
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not soak" $(ARGS)

# Also what takes many minutes: crowds of visitors, fuzzing. One at a time, because what they say of speed is of a whole machine.
test-all: browsers test
	@$(PYTHON3) tools/plugin.py test-env
	@$(PYTHON3) tools/object_server.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m soak --timeout 3600 $(ARGS)

unit: env-test
	$(BIN)/python -m pytest -q -m "not browser and not slow and not soak" $(ARGS)

bench: generate
	$(BIN)/tessera bench hot-path
	$(BIN)/tessera bench generate

# The image, by docker or by podman and buildah; VARIANT=generate-cpu or cuda for those that make embeddings. image-test drives it in Chromium.
VARIANT ?= slim
image:
	@$(PYTHON3) tools/image.py build --variant $(VARIANT) $(if $(BASE),--base $(BASE))

image-test: env-test image
	$(BIN)/python tools/image.py test --variant $(VARIANT)
	$(BIN)/python tools/image.py memory --variant $(VARIANT)

# A small real region of every published dataset against geotessera; needs the internet, and says so where there is none.
check-live: env
	@$(BIN)/python tools/check_live.py

# Pins, made by uv and without index addresses: requirements.txt for hosted Streamlit and containers, requirements-dev.txt for
# the set-up, which adds the extras. UPGRADE=1 moves all of them to the newest; run every test afterwards.
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.12 --no-emit-index-url --no-annotate \
	--custom-compile-command "make requirements" -q $(if $(UPGRADE),--upgrade)
requirements: env
	$(COMPILE) -o requirements.txt
	$(COMPILE) --all-extras --strip-extras --constraint requirements.txt -o requirements-dev.txt

# The site asks nobody for anything; the tests build it, look for addresses in it, and run every block of code in it.
docs:
	@$(BOOTSTRAP) docs test
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "soak or not soak" tests/docs
	@echo "build/docs/index.html"

# Every page in every state on every screen, light and dark, into build/shots, to be looked at; SHOTS="--screens 390x844" for some.
shots: env-test
	$(BIN)/python tools/shots.py $(SHOTS)

# Every picture of it anew, by the tests' browser from the real app; needs Chromium.
docs-pictures: env-test
	$(BIN)/python tools/docs_pictures.py

# build/tessera_studio-VERSION.zip, for QGIS's "Install from ZIP"; the same bytes from the same files.
plugin:
	@$(PYTHON3) tools/plugin.py

# The share of lines that the tests run, and a page that shows which they do not.
# The catalogues of the languages anew from what the code says; prints what is not translated.
words: env-test
	$(BIN)/python tools/words.py $(ARGS)

coverage:
	@$(BOOTSTRAP) test coverage
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -q -m "not soak and not browser" $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --sort cover | tail -40
	$(BIN)/coverage html -q -d build/coverage

clean:
	rm -rf .venv .cache build *.egg-info .pytest_cache .ruff_cache .mypy_cache
