# `make help` lists what there is. `make run` and `make test` need nothing but this checkout and Debian.

VENV := .venv
QEMU10 := .qemu10
PYTHON ?= python3
PACKAGES := python3-venv qemu-system-x86 mmdebstrap squashfs-tools uidmap util-linux passt
PROGRAMS := qemu-system-x86_64 mmdebstrap mksquashfs newuidmap setpriv passt
# Debian 12 has it in qemu-system-common, which comes with QEMU; from 13 on it is a package of its own.
VIRTIOFSD := /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd
TESTS ?= tests
# Processes that run tests: one for each processor where all are run; some are over before further ones have begun.
WORKERS ?= $(if $(filter-out tests,$(TESTS)),0,auto)
# Whole files, since their tests share guests, in the order of tests/support/order.py.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Named as the packages' own or as what they provide: both do on Debian 12 and 13.
EMULATORS := qemu-system-aarch64 qemu-system-ppc64 qemu-system-riscv64 qemu-system-s390x

QEMU ?= qemu-system-x86_64

.PHONY: help run test test-arches check bench setup setup-qemu10 setup-arches packages venv image stubs clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: setup image  ## install what is missing, build the guest image, run `uname -a` in a guest
	bin/gavotte run -- uname -a

test: setup image  ## the same set-up, then all tests and gates (TESTS=tests/qmp for some)
	$(VENV)/bin/python -m pytest $(PARALLEL) $(TESTS)

test-arches: setup-arches  ## boots of every architecture, with how long each took; the first builds their images
	$(VENV)/bin/python -m pytest -m arch --timeout=3600 --durations=0 --durations-min=1 $(TESTS)

check: venv  ## the gates alone: style, types, floors
	$(VENV)/bin/python -m pytest tests/test_gates.py

bench: setup image  ## the numbers of SPEC.md, as ratios to bare QEMU in the same run
	$(VENV)/bin/python -m bench

setup: packages venv  ## Debian packages (as root, else the line to type) and the virtual environment

setup-qemu10: setup  ## unpack the newer QEMU of Debian's backports beside the installed one, for tests on both
	$(VENV)/bin/python -m tools.newer_qemu $(QEMU10)

setup-arches: setup  ## the emulators for guests of other architectures, as root, else the line to type
	@missing=; for program in $(EMULATORS); do \
	    command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then \
	    echo "installing what is missing:$$missing"; \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	else \
	    echo "missing:$$missing" >&2; \
	    echo "  next: sudo apt-get install --no-install-recommends$$missing" >&2; exit 1; \
	fi

stubs: venv  ## write the types of QMP's commands anew (QEMU=path of the newest there is)
	$(VENV)/bin/python -m tools.qmp_stubs $(QEMU)

packages:
	@missing=; for program in $(PROGRAMS); do \
	    command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	ls $(VIRTIOFSD) 2>/dev/null | grep -q . || missing="$$missing virtiofsd"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then \
	    echo "installing what is missing:$$missing"; \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(PACKAGES) \
	        $$(apt-cache show virtiofsd >/dev/null 2>&1 && echo virtiofsd); \
	else \
	    echo "missing:$$missing" >&2; \
	    echo "  next: sudo apt-get install --no-install-recommends $(PACKAGES)" >&2; exit 1; \
	fi

venv: $(VENV)/ready

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

image: venv
	bin/gavotte image build

clean:  ## remove the virtual environment and what tools left (the image cache stays: `gavotte image rm`)
	rm -rf $(VENV) $(QEMU10) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
