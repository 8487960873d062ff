# run: install what is needed, then serve on port 11435.   test: install what tests need, check, test.
# test-clients: install other people's client libraries, each in an environment of its own, and test with them.
# check: format, lint, types, layers.   bench: measure.   The work is in .ci/tasks.py; make.ps1 calls the same.

try = $(shell $(1) -c 'import sys; sys.version_info >= (3, 11) and print("$(1)")' 2>/dev/null)
PYTHON ?= $(or $(call try,.venv/bin/python),$(call try,python3.13),$(call try,python3.12),$(call try,python3.11),$(call try,python3),$(call try,python))

run test test-clients check bench lock:
ifeq ($(PYTHON),)
	@echo "npuproxy needs Python 3.11 or newer, and found none (python3.13, 3.12, 3.11, python3, python)" >&2; exit 1
else
	@exec $(PYTHON) .ci/tasks.py $@ $(ARGS)
endif

.PHONY: run test test-clients check bench lock
