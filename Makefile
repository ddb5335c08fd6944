# Tasks for developers. List them with `make help`.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test test-faults test-lowest lint format screenshots bench clean

BIN := .venv/bin
# The Python of the virtual environments. To use another one, run `make clean` first.
PYTHON ?= python3
# One worker more than processors, because some tests only wait. Each worker runs whole modules, since the tests of a
# module may share fixtures. A worker that has finished takes over tests of another one.
WORKERS := -n $(shell expr $$(nproc) + 1) --dist worksteal
# On a machine that has just booted, automatic updates hold the lock for a while.
APT_GET := $(shell [ "$$(id -u)" = 0 ] || echo sudo) apt-get -q -o DPkg::Lock::Timeout=300

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: .venv/webservice ## Run the whole job on this machine; LOG=file and NETWORKS=file use your own log
	@$(BIN)/python demo.py $(if $(LOG),--log "$(LOG)") $(if $(NETWORKS),--networks "$(NETWORKS)")

serve: .venv/webservice ## Run the demo and keep the service running
	@$(BIN)/python demo.py --serve $(if $(LOG),--log "$(LOG)") $(if $(NETWORKS),--networks "$(NETWORKS)")

test: .venv/dev ## Run the tests on a private PostgreSQL; ARGS="-k sketch" selects some of them
	@sh tests/support/install_postgresql.sh
	@sh tests/support/install_chromium.sh
	@sh tests/support/install_pdf_packages.sh
	@sh tests/support/fetch_package.sh redis-server .venv/redis
	$(BIN)/python -m pytest $(WORKERS) --maxprocesses 5 $(ARGS)

test-faults: .venv/dev ## Kill processes and fill disks, and check that nothing is lost
	@sh tests/support/install_postgresql.sh
	@sh tests/support/fetch_package.sh nginx .venv/nginx
	@sh tests/support/fetch_package.sh pgbouncer .venv/pgbouncer
	@sh tests/support/fetch_package.sh redis-server .venv/redis
	@$(BIN)/python -m pytest tests/faults -m "not alone" -n 3 $(ARGS); beside=$$?; \
	$(BIN)/python -m pytest tests/faults -m alone $(ARGS); alone=$$?; \
	case "$$beside $$alone" in "0 0") ;; "0 5" | "5 0") $(if $(ARGS),true,false) ;; *) false ;; esac

# Quick tests that depend on other packages more than the rest.
LOWEST := shared/test_encoding shared/test_payload shared/test_compression shared/ringserver/test_places \
	aggregator/delivery/test_client webservice/test_config webservice/web/test_hooks webservice/web/test_metrics \
	webservice/query/test_statistics webservice/dataselect/test_repository

test-lowest: .venv-lowest/ready ## Run some tests with the oldest package versions that setup.py allows
	@sh tests/support/install_postgresql.sh
	.venv-lowest/bin/python -m pytest $(WORKERS) $(ARGS) $(LOWEST:%=tests/%.py)

lint: .venv/dev ## Check style, types, imports, Dockerfiles and dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile.pg-hll Dockerfile.ringserverstats aggregator/Dockerfile webservice/Dockerfile
	@# The audit runs in the background, because it mostly waits for the network.
	@$(BIN)/python tests/support/audit_dependencies.py & audit=$$!; $(BIN)/mypy; types=$$?; wait $$audit && exit $$types

format: .venv/dev ## Format the source
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: .venv/dev ## Write pictures of the pages and of a report into screenshots/
	@sh tests/support/install_chromium.sh
	@sh tests/support/install_pdf_packages.sh
	@PYTHONPATH=tests $(BIN)/python -m support.screenshots

bench: .venv/dev ## Run the benchmarks; benchmarks/README.md explains the figures
	@sh tests/support/install_postgresql.sh
	@sh tests/support/install_pdf_packages.sh
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove everything that make has created
	rm -rf .venv .venv-lowest .venv-reference demo-output screenshots build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Debian and Ubuntu ship Python's venv module in a separate package.
.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ $(APT_GET) update && $(APT_GET) install -y --no-install-recommends python3-venv; }
	$(PYTHON) -m venv .venv

.venv/webservice: .venv/bin/python setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[webservice]'
	@touch $@

# pip takes a minute to install these packages, uv takes a few seconds.
.venv/dev: .venv/bin/python setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check 'uv>=0.8'
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]'
	@touch $@ .venv/webservice

# Only the packages that the programs need are installed in their oldest versions. Test tools may be new.
.venv-lowest/ready: .venv/dev
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install -q --python .venv-lowest --resolution lowest-direct -e '.[webservice,parquet,ringserver,archive,redis,dask]'
	$(BIN)/uv pip install -q --python .venv-lowest pytest pytest-timeout pytest-xdist hypothesis PyYAML mmdb_writer
	@touch $@
