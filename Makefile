# make help tells the targets. They are here, and in files that have the names of the directories
# they are in, beside what they build.

CARGO ?= cargo
CC ?= cc
CXX ?= c++
PYTHON ?= python3
JOBS ?= 2

export CARGO_BUILD_JOBS ?= $(JOBS)
# Where JOBS is 1, others are beside it, and make shares the cores among all.
AT_A_TIME := $(if $(filter-out 1,$(JOBS)),-j$(JOBS))

# Where cargo builds, seen from here.
TARGET := $(if $(CARGO_TARGET_DIR),$(shell realpath -m --relative-to=. "$(CARGO_TARGET_DIR)"),target)
RELEASE := $(TARGET)/$(CARGO_BUILD_TARGET:%=%/)release
LIBRARY := $(RELEASE)/libkvreg.so
VENV := .venv
PYTHON_CONFIG := --config bindings/python/pyproject.toml
OF_ENGINES := bindings/python-nats # by itself for mypy, for it has a setup.py too
PYTHON_FILES := bindings/python $(OF_ENGINES) bindings/c benches/python docs tests/docs tests/python tests/listener \
    tests/nats tests/packaging tests/peers tests/release tests/readme.py tests/languages tests/abi tests/examples \
    tests/windows packaging
C_FLAGS := -std=c11 -Wall -Wextra -Wpedantic -Werror -O1 -g -pthread -Iinclude -Ibindings/c \
    -DKVREG_NO_OLD_NAMES
C_LINK := -L$(RELEASE) -lkvreg -Wl,-rpath,$(CURDIR)/$(RELEASE)
# The callers that the suppressions name lie deep where little is inlined.
VALGRIND := valgrind -q --error-exitcode=9 --leak-check=full --num-callers=30 \
    --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible \
    --suppressions=$(CURDIR)/tests/c/valgrind.supp

C_TESTS := $(patsubst tests/c/%.c,%,$(wildcard tests/c/test_*.c))
C_STRESS := stress_names stress_memory stress_limits stress_fork stress_forks_unseen \
    stress_refused_threads stress_cancel stress_slow_memory stress_scan stress_servers \
    stress_restarts stress_many_servers
LIFECYCLE := host loads logs needs
C_PROGRAMS := $(addprefix target/c/,$(C_TESTS) $(C_STRESS) soak misuse instructions shell demo)

# How often to repeat what is a matter of luck: a factor, which the tests know as KVREG_TEST_SCALE.
SCALE ?= 1
export KVREG_TEST_SCALE := $(SCALE)
REPEATED := test-rust test-stress test-lifecycle test-misuse test-python test-wheel test-elsewhere

# How many misuse calls run under AddressSanitizer, and how many without.
MISUSE_ASAN ?= $(shell echo $$((400000 * $(SCALE))))
MISUSE ?= $(shell echo $$((1000000 * $(SCALE))))
MISUSE_SEED ?= 1

all: build native ## the library, and the Python package's extension

build: ## the library, target/release/libkvreg.so
	$(CARGO) build --release

# Those that are written by a program and committed: test-header asks if they are fresh.
header: $(VENV)/installed ## kvreg.h from src/capi, and what is made of it
	CARGO="$(CARGO)" $(VENV)/bin/python packaging/header/generate.py

demo: build native target/c/demo ## the shopping session from C and from Python
	@echo "== from C"
	@target/c/demo
	@echo "== from Python"
	@KVREG_LIBRARY=$(LIBRARY) PYTHONPATH=bindings/python $(PYTHON) bindings/python/demo.py

# For the Python that runs here, if it is one for which there is one: else ctypes does all.
NATIVE := bindings/python/kvreg/_native.abi3.so
HAS_NATIVE := sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
native: $(NATIVE) ## the Python package's extension, beside its modules

$(NATIVE): packaging/native.py $(wildcard bindings/python/native/*) include/kvreg.h
	@if ! $(PYTHON) -c 'import sys; sys.exit(not ($(HAS_NATIVE)))'; then \
	    echo "no extension for $$($(PYTHON) --version): ctypes does all"; \
	elif ! $(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>&-; then \
	    echo "no extension without Python.h (apt-get install libpython3-dev): ctypes does all"; \
	else \
	    echo $(PYTHON) packaging/native.py $@ $(CC) -g && \
	    $(PYTHON) packaging/native.py $@ $(CC) -g; \
	fi

# What many parts need comes first: make passes over a part that waits for it, and comes back when
# all others have begun. Then those that take long, and lint not beside what waits for the same lock.
BESIDE := build $(VENV)/installed test-install test-rust test-python test-model test-misuse \
    lint test-cpp test-stress test-engines test-abi test-languages test-docs test-lifecycle test-examples \
    test-native test-sanitizers test-listener test-shell test-release test-instructions test-readme test-header

# Two parts at a time: what each says is whole, and comes when it has ended. The library needs none
# of what is fetched. What pip makes of the checkout is in the way of other parts, and comes last,
# beside programs in C, which do not look there.
test: ## all tests, two parts at a time
	@$(MAKE) -j$(JOBS) --output-sync=target --no-print-directory build prepared
	@$(MAKE) --no-print-directory native
	@$(MAKE) -j$(JOBS) --output-sync=target --no-print-directory JOBS=1 $(BESIDE)
	@$(MAKE) -j$(JOBS) --output-sync=target --no-print-directory JOBS=1 test-wheel test-c test-components
	@echo "all tests passed"

# The parts that repeat what is a matter of luck, ten times as often. make proof goes on as long as
# one likes, with new seeds.
test-often: requirements ## what is a matter of luck, ten times as often
	@$(MAKE) --no-print-directory SCALE=10 $(REPEATED)
	@echo "all that was repeated passed"

requirements: ## what the tests need, installed or named
	@tests/requirements.sh

# What is fetched, while the library is built.
prepared: requirements ## the same, and the tests' Python
	@$(MAKE) --no-print-directory $(VENV)/installed

lint: lint-rust $(VENV)/installed ## the lints of Rust and Python
	$(VENV)/bin/ruff check --no-cache $(PYTHON_CONFIG) $(PYTHON_FILES)
	$(VENV)/bin/ruff format --no-cache --check $(PYTHON_CONFIG) $(PYTHON_FILES)
	$(VENV)/bin/mypy --strict --config-file bindings/python/pyproject.toml \
	    $(filter-out $(OF_ENGINES),$(PYTHON_FILES))
	$(VENV)/bin/mypy --strict --config-file bindings/python/pyproject.toml $(OF_ENGINES)
	KVREG_PURE=1 PYTHONPATH=bindings/python $(VENV)/bin/python -m mypy.stubtest kvreg --concise \
	    --mypy-config-file bindings/python/pyproject.toml \
	    --allowlist tests/python/stubtest_allowlist.txt
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python --project bindings/python
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python --project tests/python

# With what can be left out, and the library without it; and the documentation.
lint-rust: ## those of Rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy -p kvreg -p kvreg-model -p kvreg-header -p kvreg-file --all-targets --features kvreg/aio \
	    -- -D warnings
	$(CARGO) clippy -p kvreg -- -D warnings
	$(CARGO) clippy -p kvreg --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc -p kvreg --no-deps --features aio

# By itself, for the benchmarks' peers are many crates.
lint-benches: ## the lints of the benchmarks
	$(CARGO) clippy -p kvreg-bench -p kvreg-bench-actor --all-targets -- -D warnings

test-rust: ## the tests in Rust
	$(CARGO) test --features aio

test-model: ## the core of a server, by a model checker
	CARGO="$(CARGO)" JOBS=$(JOBS) tests/model/run.sh

# By itself, for it takes minutes and a nightly toolchain.
test-miri: ## the core under Miri, for what is undefined
	tests/miri.sh

# What it runs is a test too, for a moment.
FUZZ_SECONDS ?= 60
fuzz: ## the table against a HashMap, told the same by a fuzzer
	CARGO="$(CARGO)" tests/fuzz/run.sh $(FUZZ_SECONDS)

test-header: build $(VENV)/installed ## if what is generated is fresh, and compiles
	CARGO="$(CARGO)" $(VENV)/bin/python packaging/header/generate.py --check
	tests/c/header.sh
	tests/c/symbols.sh $(LIBRARY)

target/c/%: tests/c/%.c $(wildcard tests/c/*.h tests/c/misuse/*.h) include/kvreg.h | build
	@mkdir -p target/c
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

target/c/%: bindings/c/%.c include/kvreg.h | build
	@mkdir -p target/c
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

# Each program plainly, then with smaller counts under valgrind; some at a time.
# By itself from its beginning, as test-install.
test-c: build ## the tests in C, under valgrind too; test-c-NAME is one
	@$(MAKE) $(AT_A_TIME) --output-sync=target --no-print-directory $(C_TESTS:%=test-c-%)

$(C_TESTS:%=test-c-%): test-c-%: target/c/%
	@set -e; echo "== $*"; target/c/$*; \
	echo "== $* under valgrind"; KVREG_TEST_COUNT=1000 $(VALGRIND) target/c/$*

# What a user's program sees of the library under valgrind and ThreadSanitizer, with the files that
# are installed for that: nothing.
LEAKS := valgrind -q --error-exitcode=9 --leak-check=full \
    --show-leak-kinds=definite,indirect,possible \
    --errors-for-leak-kinds=definite,indirect,possible

# Its copy of the package has the modules of the checkout. Python itself leaves memory at its end.
NATIVE_ASAN := target/native-asan
WITH_NATIVE := $(addprefix tests/python/test_,native.py batch.py bucket.py inbox.py registry.py servers.py \
    stores.py watch.py whole.py)
test-native: export KVREG_LIBRARY := $(CURDIR)/$(LIBRARY)
test-native: build $(VENV)/installed ## the Python package's extension, under AddressSanitizer
	rm -rf $(NATIVE_ASAN) && mkdir -p $(NATIVE_ASAN) && cp -r bindings/python/kvreg $(NATIVE_ASAN)
	@if $(PYTHON) -c 'import sys; sys.exit(not ($(HAS_NATIVE)))'; then set -ex; \
	    $(PYTHON) packaging/native.py $(NATIVE_ASAN)/kvreg/_native.abi3.so $(CC) -g \
	        -fsanitize=address,undefined -fno-sanitize-recover=undefined; \
	    LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=$(NATIVE_ASAN) \
	        $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider $(WITH_NATIVE); \
	fi

# By Debian's debug build of CPython, for which it is compiled.
test-references: build ## the references that the extension holds
	tests/requirements.sh references
	rm -rf target/native-debug && mkdir -p target/native-debug
	cp -r bindings/python/kvreg target/native-debug && rm -f target/native-debug/kvreg/_native.*
	python3-dbg packaging/native.py target/native-debug/kvreg/_native.abi3.so $(CC) -g
	KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=target/native-debug:tests/python \
	    python3-dbg tests/python/references.py

test-sanitizers: target/c/leaks ## what a program sees under valgrind and TSan
	$(LEAKS) target/c/leaks here
	$(LEAKS) target/c/leaks held
	$(LEAKS) --suppressions=packaging/suppressions/valgrind.supp target/c/leaks runtime
	$(CC) $(C_FLAGS) -Itests/c -fsanitize=thread tests/sanitizers/correct.c \
	    -o target/c/correct $(C_LINK)
	TSAN_OPTIONS="suppressions=packaging/suppressions/tsan.supp" target/c/correct

# The shell in C, and that in Python, which does the same.
test-shell: target/c/shell $(VENV)/installed ## the shells in C and Python
	tests/c/shell.sh target/c/shell $(LIBRARY)
	KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=$(CURDIR)/bindings/python \
	    PYTHON=$(VENV)/bin/python tests/c/shell.sh tests/python/shell $(LIBRARY)

test-stress: $(addprefix target/c/,$(C_STRESS)) ## threads, forks and memory, many times
	@set -e; for test in $^; do echo "== $$test"; $$test; done

target/c/lifecycle/%: tests/c/lifecycle/%.c $(wildcard tests/c/lifecycle/*.h) tests/c/check.h include/kvreg.h | build
	@mkdir -p target/c/lifecycle
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

# It loads the library itself.
target/c/lifecycle/loads: C_LINK := -ldl

test-lifecycle: $(addprefix target/c/lifecycle/,$(LIFECYCLE)) ## loading, exits and signals
	tests/c/lifecycle/run.sh target/c/lifecycle $(CURDIR)/$(LIBRARY)

target/c/listener-host: tests/listener/host.c tests/c/check.h include/kvreg.h | build
	@mkdir -p target/c
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

# By plain sockets from Python, and as the guide does it, from Elixir.
test-listener: target/c/listener-host $(VENV)/installed ## the listener, from Python and Elixir
	KVREG_LISTENER_HOST=$(CURDIR)/target/c/listener-host \
	    $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider tests/listener
	tests/listener/run.sh $(CURDIR)/target/c/listener-host

ASAN_DIR := target/asan/$(shell rustc -vV | sed -n 's/^host: //p')/release

test-instructions: target/c/instructions ## the instructions that short ways take
	tests/instructions.sh $<

# Misuse with AddressSanitizer in the library too.
misuse-asan:
	@mkdir -p target/c
	RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) rustc --release --lib --crate-type cdylib --target-dir target/asan \
	    --target $(shell rustc -vV | sed -n 's/^host: //p')
	$(CC) $(C_FLAGS) -fsanitize=address tests/c/misuse.c -o target/c/misuse-asan \
	    -L$(ASAN_DIR) -lkvreg -Wl,-rpath,$(CURDIR)/$(ASAN_DIR)

test-misuse: target/c/misuse misuse-asan ## every misuse is a status; under AddressSanitizer too
	@echo "== misuse under AddressSanitizer"
	target/c/misuse-asan $(MISUSE_ASAN) $(MISUSE_SEED)
	@echo "== misuse"
	target/c/misuse $(MISUSE) $(MISUSE_SEED)

VENV_REQUIREMENTS := tests/python/requirements.txt tests/packaging/requirements.txt

$(VENV)/installed: $(VENV_REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
	    $(VENV_REQUIREMENTS:%=--requirement %)
	@touch $@

# Most of it with coverage, which fails below what pyproject.toml asks for. Not so the interpreters
# that end, nor forks beside threads: one may have coverage's own lock, and the child would wait
# for it. Nor what does the same very often, which takes twice as long when it is measured.
COVERAGE_FILES := --rcfile=bindings/python/pyproject.toml --data-file=$(CURDIR)/target/coverage/python
WITHOUT_COVERAGE := tests/python/lifecycle tests/python/test_fork.py \
    $(wildcard tests/python/test_conformance*.py)

test-python: export KVREG_LIBRARY := $(CURDIR)/$(LIBRARY)
test-python: export PYTHONPATH := bindings/python
test-python: build native $(VENV)/installed ## the Python package, with its extension and without
	@echo "== with the extension"
	$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider -n $(JOBS) tests/python
	@echo "== by ctypes alone"
	KVREG_PURE=1 $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider -n $(JOBS) \
	    $(WITHOUT_COVERAGE)
	rm -rf target/coverage && mkdir -p target/coverage
	KVREG_PURE=1 $(VENV)/bin/python -X dev -W error -m coverage run $(COVERAGE_FILES) \
	    -m pytest -p no:cacheprovider -n $(JOBS) tests/python $(WITHOUT_COVERAGE:%=--ignore=%)
	$(VENV)/bin/coverage combine --quiet $(COVERAGE_FILES)
	$(VENV)/bin/coverage report $(COVERAGE_FILES)

# It is installed as users do, from the wheel, the sources and the checkout, and tested there. Without
# engines, which take minutes to build in all these ways: make test-dist does it with them.
WHEEL_COMPONENTS ?=
test-wheel: $(VENV)/installed ## the wheel and the sources, installed
	@$(MAKE) --no-print-directory wheel COMPONENTS="$(WHEEL_COMPONENTS)" WHEELS=$(TESTED)/wheels
	KVREG_ENGINES="$(WHEEL_COMPONENTS)" KVREG_WHEELS=$(CURDIR)/$(TESTED)/wheels \
	    $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider tests/packaging --ignore=$(ELSEWHERE)

# In programs that PyInstaller makes, in archives, and by PyPy.
ELSEWHERE := tests/packaging/test_elsewhere.py
test-elsewhere: wheel $(VENV)/installed ## the wheel with PyInstaller, in archives, by PyPy
	KVREG_ENGINES="$(COMPONENTS)" $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider \
	    $(ELSEWHERE)

# The blocks of the README are compiled and run.
test-readme: build $(VENV)/installed ## the programs in the README
	KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=bindings/python \
	    $(VENV)/bin/python tests/readme.py

# What the pages in docs show: sessions of Python, programs in C, and what the reference is made
# from: the modules' own sources. Without pytest's own log handler, since kvreg starts a thread where
# there is one.
OF_SOURCES := tests/docs/test_reference.py
test-docs: export KVREG_LIBRARY := $(CURDIR)/$(LIBRARY)
test-docs: export PYTHONPATH := bindings/python
test-docs: build $(VENV)/installed ## the programs in the guides, and links
	$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider -p no:logging tests/docs \
	    --ignore=$(OF_SOURCES)
	KVREG_PURE=1 $(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider $(OF_SOURCES)
	$(VENV)/bin/python tests/readme.py docs/c-guide.md docs/cpp-guide.md docs/servers.md

# Ratios to peers, measured in one run: a few minutes. What is not installed is left out.
bench: build ## kvreg beside its peers, from C
	$(CARGO) run --release -p kvreg-bench

# The same with all peers: installs them.
bench-all: ## the same with all peers, which it installs
	tests/requirements.sh bench
	$(MAKE) bench

# Ratios of more kinds, each with an aim, and plots of what was measured; less than ten minutes.
GROUPS ?=
bench-wide: build ## more ratios with aims, and plots; GROUPS="sizes casts" chooses
	$(CARGO) run --release -p kvreg-bench -- wide $(GROUPS)
	PYTHONPATH=docs/images $(PYTHON) benches/python/wide_plots.py \
	    $(TARGET)/bench-wide.json $(TARGET)/bench-wide

# The same from Python.
bench-python: build native $(VENV)/installed ## the same from Python
	tests/requirements.sh bench
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --requirement benches/python/requirements.txt
	$(CARGO) build --release -p kvreg-bench-actor
	KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=bindings/python \
	    $(VENV)/bin/python benches/python/bench.py $(RELEASE)
	KVREG_PURE=1 KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=bindings/python \
	    $(VENV)/bin/python benches/python/bench.py $(RELEASE)

# Servers that programs write, beside actors of other libraries, from C and from Python; and the
# memory of a million of them. What is not installed is left out: but for what pip brings.
SERVER_PEERS := target/peers/servers
$(SERVER_PEERS)/installed: benches/python/server_peers.txt
	$(PYTHON) -m venv $(SERVER_PEERS)
	$(SERVER_PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench-servers: build native target/c/stress_many_servers $(SERVER_PEERS)/installed ## servers beside actors, from C and Python
	@! [ -e /usr/include/caf/all.hpp ] || \
	    $(CXX) -std=c++17 -O2 benches/src/servers/caf.cpp -o $(SERVER_PEERS)/caf -lcaf_core
	$(CARGO) run --release -p kvreg-bench -- servers \
	    $(CURDIR)/target/c/stress_many_servers $(SERVER_PEERS)/caf
	$(CC) -O2 -shared -fPIC -Iinclude benches/python/adds.c -o $(RELEASE)/libadds.so
	KVREG_LIBRARY=$(CURDIR)/$(LIBRARY) PYTHONPATH=bindings/python \
	    $(SERVER_PEERS)/bin/python benches/python/server_calls.py $(RELEASE)

clean: ## removes what was made
	$(CARGO) clean
	rm -rf $(VENV)

include $(wildcard $(foreach at,bindings docs packaging tests,$(at)/*.mk $(at)/*/*.mk))

# A target is told where it is made, behind two of these signs. What is told is no file.
TOLD := sed -n 's/^\([a-z0-9-]*\):.* \#\# \(.*\)/\1 \2/p' $(MAKEFILE_LIST)
.PHONY: $(shell $(TOLD) | cut -d ' ' -f 1) $(C_TESTS:%=test-c-%) $(CPP_WAYS:%=test-cpp-%) misuse-asan

help: ## this list
	@$(TOLD) | sort | while read -r target told; do printf '%-18s %s\n' "$$target" "$$told"; done
	@echo "They are made by: $(MAKEFILE_LIST)"
