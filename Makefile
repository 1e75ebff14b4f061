# `make` builds the environment, `make test` checks everything, `make demo` shows the main job.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Decided before this file exports an AMENT_PREFIX_PATH of its own.
ifneq ($(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)),)
ROS := sourced
OTHER_ROS := wheels
REQUIREMENTS := requirements.txt requirements-dev.txt requirements-backends.txt requirements-sourced-ros.txt
else
ROS := wheels
OTHER_ROS := sourced
REQUIREMENTS := requirements.txt requirements-dev.txt requirements-backends.txt requirements-ros.txt
endif
# OPEN3D=1 adds the optional viewer.
ifneq ($(OPEN3D),)
REQUIREMENTS += requirements-open3d.txt
endif

# An environment of the other kind cannot be turned into this one.
CLEAR := $(if $(wildcard $(VENV)/.venv-$(OTHER_ROS)),--clear)

INSTALLED := setup.py setup.cfg package.xml requirements.txt $(wildcard resource/* scripts/*) \
	$(shell find mono_depth_ros launch config -type f -not -path '*/__pycache__/*')

# The checkout comes first: an installed copy, however old, is never the code under test.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# pip puts launch files, configuration and the package marker below the environment's prefix.
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)$(if $(AMENT_PREFIX_PATH),:$(AMENT_PREFIX_PATH))
# Fast DDS as shipped drops most best-effort messages above 0.9 MB; releases 2 and 3 read these.
export FASTRTPS_DEFAULT_PROFILES_FILE ?= $(CURDIR)/config/fastdds.xml
export FASTDDS_DEFAULT_PROFILES_FILE ?= $(CURDIR)/config/fastdds.xml

.PHONY: env test test-long lint format demo clean distclean help
.DEFAULT_GOAL := env

env: $(VENV)/.package-$(ROS)  ## create .venv and install the package (with a sourced ROS 2, or its wheels)

$(VENV)/.venv-$(ROS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "$(PYTHON) is older than 3.10; run make PYTHON=python3.11"; exit 1; }
ifeq ($(ROS),sourced)
	@$(PYTHON) -c 'import rclpy' 2>/dev/null \
		|| { echo "$(PYTHON) cannot import the rclpy of ROS 2 $(ROS_DISTRO); run make PYTHON=/usr/bin/python3"; exit 1; }
	$(PYTHON) -m venv $(CLEAR) --system-site-packages $(VENV)
else
	$(PYTHON) -m venv $(CLEAR) $(VENV)
endif
	@touch $@

$(VENV)/.requirements-$(ROS)$(if $(OPEN3D),-open3d): $(VENV)/.venv-$(ROS) $(REQUIREMENTS)
	$(BIN)/python -m pip install --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS))
	@touch $@

# A plain install: an editable one carries neither launch files nor the package marker. setuptools
# would install again what an earlier build left in build/.
$(VENV)/.package-$(ROS): $(VENV)/.requirements-$(ROS)$(if $(OPEN3D),-open3d) $(INSTALLED)
	@rm -rf build/lib build/bdist.*
	$(BIN)/python -m pip install --disable-pip-version-check --no-build-isolation --no-deps \
		--force-reinstall --quiet .
	@touch $@

test: env  ## format, lint, types and tests (12 minutes at most on 2 cores)
	@failed=""; \
	step() { name=$$1; shift; echo "== $$name: $$*"; "$$@" || failed="$$failed $$name"; }; \
	step format $(BIN)/python -m ruff format --check .; \
	step lint $(BIN)/python -m ruff check .; \
	step types $(BIN)/python -m mypy mono_depth_ros training; \
	step tests $(BIN)/python -m pytest -q -rs --durations=10 -n 2 --dist loadgroup; \
	if [ -n "$$failed" ]; then echo "make test: FAILED in$$failed"; exit 1; fi; \
	echo "make test: format, lint, types and tests passed"

test-long: env  ## the slow proofs
	$(BIN)/python -m pytest -q -rs -m long

lint: env  ## ruff and mypy
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy mono_depth_ros training

format: env  ## rewrite the sources in the project's format
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

demo: env  ## world, node over DDS, recording, score and report in out/demo
	$(BIN)/python -m mono_depth_ros.cli.main demo --out out/demo

clean:  ## remove what builds, tests and demos left, but not .venv
	rm -rf build install log out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv as well
	rm -rf $(VENV)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1: /p' $(MAKEFILE_LIST)
