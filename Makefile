# Everything runs in .venv, made from the hash-locked requirements. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The order of `make test` is its meaning: cheap checks first, pytest's closing line last.
.NOTPARALLEL:

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# Wheels only: no code of a dependency runs at installation. Byte code is made at first use, which
# for the few modules used of scipy and scikit-learn is far quicker than compiling all of them.
LOCKED := $(PIP) install --require-hashes --only-binary :all: --no-compile --no-deps
# What has no wheel runs its own set-up, with the locked setuptools and in no other environment.
SOURCE := $(PIP) install --require-hashes --no-binary :all: --no-build-isolation --no-compile --no-deps
UV_COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header $(UPGRADE)

# Looks for what shuts people out of a page; the sum is that of axe.min.js in this version.
AXE := axe-core@4.14.1
AXE_SHA512 := e63e659f9806d7ae5bd40899043b0871a5062c5442b01b3f1a3edf5eaf50bf5c3a7104a72463293b4ad1b77c661a0d4e40e850dec89de9d6ece70a8c13a9af17

# What stores something, but for the tests that look for the database in a file.
ON_POSTGRESQL = $$(grep -rlE '^from tests\.support(\.| import (.*, )?)(databases|installation|postgres|web_world)\b' \
	--include='test_*.py' --exclude-dir=e2e tests | xargs grep -L doctor_world) --deselect \
	tests/operations/test_report.py::test_the_command_writes_one_file_beside_the_config_or_where_it_is_told

LONG := $(BIN)/python -m pytest --full
# The tests of promises that several rooms keep together.
across = $(patsubst %,tests/reliability/test_%.py,$(1))

.PHONY: help demo test test-postgresql lint types imports migration-check e2e reliability reliability-data reliability-links reliability-mail reliability-sources bench pretrained format lock servers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/project.stamp ## install what is needed and show the whole loop on bundled papers
	@$(BIN)/triage demo

test: lint types imports ## run every check; pytest's closing line comes last
	@echo "pytest"
	@$(BIN)/python -m pytest -n $(WORKERS)

test-postgresql: .venv/dev.stamp ## run the tests that store something on PostgreSQL instead of SQLite
	@echo "pytest --database=postgresql"
	@$(BIN)/python -m pytest -n $(WORKERS) --database=postgresql $(ON_POSTGRESQL)

lint: .venv/dev.stamp ## check format and style
	@echo "ruff format --check" && $(BIN)/ruff format --check
	@echo "ruff check" && $(BIN)/ruff check

types: .venv/dev.stamp ## check types strictly
	@echo "mypy" && $(BIN)/mypy

imports: .venv/dev.stamp ## check that imports point one way
	@echo "lint-imports" && $(BIN)/lint-imports --no-logo

migration-check: .venv/dev.stamp ## check that migrations make exactly the tables (also a part of `test`)
	@$(BIN)/python -m pytest tests/store/test_migrations.py

reliability-mail: .venv/dev.stamp ## run the long forms of the tests of mail, at most an hour
	@$(LONG) tests/digest/test_message.py tests/digest/test_render.py tests/delivery/test_dkim.py \
		tests/delivery/bounces/test_intake.py tests/operations/doctor/test_dns_records.py \
		tests/operations/doctor/test_before_sending.py $(call across,strangers_text clock_changes notes_first) \
		tests/reliability/test_safe_links.py::test_one_click_unsubscribes_and_nothing_less_does
	@$(LONG) tests/delivery/test_rate_limits.py \
		$(call across,nothing_lost one_digest retries smtp_answers poison last_look many_senders)
	@$(LONG) --database=postgresql $(call across,nothing_lost one_digest last_look many_senders parallel_writers)

reliability-links: .venv/dev.stamp ## run the long forms of the tests of links, accounts and pages, at most an hour
	@$(LONG) tests/subscribers/test_signup.py \
		$(call across,safe_links hardened_web durable_votes notes_first trusted_votes any_input lives)

reliability: reliability-sources reliability-mail reliability-links reliability-data .venv/dev.stamp ## run the long forms of the tests that have one
	@$(LONG) tests/operations/test_jobs.py tests/training/test_train.py tests/training/test_simulate.py

reliability-sources: .venv/dev.stamp ## run the long forms of those about sources and their days
	@$(LONG) $(call across,good_guest proved_days downtime idempotent_ingest drift hostile_answers private_addresses honest_days)

reliability-data: .venv/dev.stamp ## run the long forms of the tests of books, back-ups, disks and upgrades
	@$(LONG) tests/delivery/test_audit.py tests/operations/test_backup.py tests/delivery/test_retention.py \
		tests/subscribers/test_data_export.py $(call across,durable full_disk killed_migrations copied_database engine)
	@$(LONG) --database=postgresql tests/delivery/test_audit.py $(call across,killed_migrations engine)

e2e: servers .venv/dev.stamp var/axe/axe.min.js ## run the tests that need system packages, and fail without those
	@CI=true $(BIN)/python -m pytest tests/e2e

pretrained: .venv/dev.stamp ## train the ranker that comes with the program anew
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pretrain

bench: .venv/dev.stamp ## measure the figures that the documentation quotes
	@for name in corpus mail teaser startup catchup identity drain postgresql granted search serving votes peers nightly two_stages ranking alone calibration growing own_papers training simulate web; do $(BIN)/python -m benchmarks.$$name; done

format: .venv/dev.stamp ## format the code and apply the safe fixes
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

lock: .venv-lock/stamp ## lock the requirements again; UPGRADE=--upgrade takes the newest versions
	@$(UV_COMPILE) pyproject.toml -o requirements/core.txt
	@$(UV_COMPILE) pyproject.toml --group dev --group build -c requirements/core.txt -o requirements/dev.txt
	@$(UV_COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	@$(UV_COMPILE) --group source --no-deps -o requirements/source.txt

# Postfix, if it is new here, gets no configuration and so is not started.
servers: ## install the system packages of the tests (Debian; needs root or sudo)
	@export DEBIAN_FRONTEND=noninteractive; \
	as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo env DEBIAN_FRONTEND=noninteractive"; \
	[ -e /etc/postfix/main.cf ] || \
		echo "postfix postfix/main_mailer_type select No configuration" | \
		$$as_root debconf-set-selections; \
	$$as_root apt-get update -qq; \
	$$as_root apt-get install -qq -y --no-install-recommends --no-remove \
		postgresql chromium fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji \
		postfix sasl2-bin libsasl2-modules libfaketime wrk $$(command -v npm > /dev/null || echo npm) > /dev/null

var/axe/axe.min.js: Makefile
	@echo "fetching $(AXE)"
	@mkdir -p $(@D)
	@cd $(@D) && tar --extract --gzip --file "$$(npm pack --silent --ignore-scripts $(AXE))" \
		--strip-components=1 package/axe.min.js && rm ./*.tgz
	@echo "$(AXE_SHA512)  $@" | sha512sum --check --quiet && touch $@

clean: ## remove everything that make and the tools made
	@rm -rf .venv .venv-lock var/demo var/axe dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "triage needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
		     "Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv .venv || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

.venv/core.stamp: requirements/core.txt requirements/build.txt .venv/made.stamp
	@echo "installing the locked requirements"
	@$(LOCKED) -r requirements/core.txt -r requirements/build.txt
	@touch $@

.venv/project.stamp: pyproject.toml .venv/core.stamp
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

.venv/dev.stamp: requirements/dev.txt requirements/source.txt .venv/project.stamp
	@echo "installing the locked development requirements"
	@$(LOCKED) -r requirements/dev.txt
	@$(SOURCE) -r requirements/source.txt
	@touch $@

.venv-lock/stamp:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --quiet --disable-pip-version-check install 'uv>=0.9'
	@touch $@
