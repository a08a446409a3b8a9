# What is shipped, and where it goes.

PREFIX ?= /usr/local
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR ?= $(PREFIX)/lib
DOCDIR ?= $(PREFIX)/share/doc/kvreg

VERSION := $(shell sed -n '/^version/{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
# The engines that come with kvreg, by the schemes of their URLs. They need a newer Rust than kvreg
# itself: see their Cargo.toml.
SCHEMES := file nats
# Those that are in archives and wheels; COMPONENTS= makes them without.
COMPONENTS ?= $(SCHEMES)
# In the wheel of kvreg are these; each other has a wheel of its own, by bindings/python-NAME.
IN_WHEEL := file
# MinGW has not built that of nats: URLs.
WINDOWS_COMPONENTS := $(filter-out nats,$(COMPONENTS))
# What is tested without them is no release, and stays apart from one.
TESTED := target/tested
# What is for another machine stands beside what is for this one.
ARCH := $(firstword $(subst -, ,$(or $(CARGO_BUILD_TARGET),$(shell rustc -vV | sed -n 's/^host: //p'))))
SHIP := target/ship$(CARGO_BUILD_TARGET:%=/%)
BUILT := $(SHIP)/built

INSTALLS := install uninstall $(SCHEMES:%=install-engine-%) $(SCHEMES:%=uninstall-engine-%)
$(INSTALLS): export PREFIX := $(PREFIX)
$(INSTALLS): export INCLUDEDIR := $(INCLUDEDIR)
$(INSTALLS): export LIBDIR := $(LIBDIR)
$(INSTALLS): export DOCDIR := $(DOCDIR)
$(INSTALLS): export DESTDIR := $(DESTDIR)
SHIPS := ship ship-portable $(SCHEMES:%=ship-engine-%) $(SCHEMES:%=ship-portable-engine-%)
$(INSTALLS) $(SHIPS) dist-linux dist-windows: export VERSION := $(VERSION)

# For this system. With debug information put aside, in $(BUILT)-debug.
ship: ## the libraries for this system
	packaging/build.sh $(BUILT)

ship-engine-file: ## the engine of file: URLs for this system
ship-engine-nats: ## that of nats: URLs
$(SCHEMES:%=ship-engine-%): ship-engine-%:
	packaging/build.sh $(BUILT)-$* $*

# For older ones too: as old as Rust's standard library allows. The same whoever builds it.
GLIBC := 2.17
PORTABLE := $(SHIP)/portable

# What packages are made with, and nothing that tests need.
TOOLS ?= target/tools
ZIG := $(TOOLS)/zig-$(ARCH)

$(TOOLS)/bin/python:
	$(PYTHON) -m venv $(TOOLS)

$(TOOLS)/installed-%: packaging/%.txt | $(TOOLS)/bin/python
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# What compiles the C of crates tells clang cargo's name of the target, which zig does not know. Where
# zig's headers are does not matter to debuggers.
$(ZIG): $(TOOLS)/installed-zig packaging/packaging.mk
	printf '%s\n' '#!/bin/sh' 'for word; do' '    shift' \
	    '    case $$word in --target=*) ;; *) set -- "$$@" "$$word" ;; esac' done \
	    'exec "$(abspath $(TOOLS))/bin/python" -m ziglang cc -target $(ARCH)-linux-gnu.$(GLIBC) \' \
	    '    "-ffile-prefix-map=$(abspath $(TOOLS))=/tools" "$$@"' >$@
	chmod +x $@

PORTABLY := env -u RUSTFLAGS -u LDFLAGS -u CARGO_PROFILE_RELEASE_DEBUG CC="$(ZIG)" \
    LDLIBS="-lunwind -Wl,-T,packaging/own-debug.ld" ZIG_GLOBAL_CACHE_DIR="$(CURDIR)/target/zig"
ship-portable: $(ZIG) ## the same for older systems, and for the wheel
	$(PORTABLY) packaging/build.sh $(PORTABLE)

$(SCHEMES:%=ship-portable-engine-%): ship-portable-engine-%: $(ZIG)
	$(PORTABLY) packaging/build.sh $(PORTABLE)-$* $*

# The package as it is published, with the library of the release archive. The wheel's platform is
# what auditwheel finds that it needs. What is for another machine goes into a directory of its own.
WHEELS := target/wheels$(CARGO_BUILD_TARGET:%=/%)

wheel: export KVREG_BUILT := $(CURDIR)/$(PORTABLE)/libkvreg.so
wheel: export KVREG_BUILT_ENGINES := $(foreach it,$(filter $(IN_WHEEL),$(COMPONENTS)),../portable-$(it)/libkvreg_$(it).so)
wheel: ship-portable $(COMPONENTS:%=ship-portable-engine-%) $(TOOLS)/installed-wheel ## the Python packages, as wheels, and kvreg as sources
	if $(TOOLS)/bin/python -c 'import sys; sys.exit(not ($(HAS_NATIVE)))'; then \
	    ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/target/zig $(TOOLS)/bin/python packaging/native.py \
	        $(PORTABLE)/_native.abi3.so $(abspath $(ZIG)) -g0; \
	fi
	rm -rf $(WHEELS) target/dist
	$(TOOLS)/bin/python -m build --sdist --outdir $(WHEELS) bindings/python
	$(TOOLS)/bin/python -m build --wheel --outdir target/dist bindings/python
	KVREG_PURE=1 $(TOOLS)/bin/python -m build --wheel --outdir target/dist bindings/python
	set -e; for engine in $(filter-out $(IN_WHEEL),$(COMPONENTS)); do \
	    KVREG_BUILT="$(CURDIR)/$(PORTABLE)-$$engine/libkvreg_$$engine.so" $(TOOLS)/bin/python -m build \
	        --wheel --outdir target/dist bindings/python-$$engine; \
	done
	PATH="$(abspath $(TOOLS))/bin:$$PATH" \
	    $(TOOLS)/bin/auditwheel repair --wheel-dir $(WHEELS) target/dist/*.whl

# What is built already is only copied: root, who installs, often has no cargo, and should neither
# fetch crates nor leave files here. The licences are written last.
$(BUILT)/THIRD-PARTY-LICENSES.txt: Cargo.toml Cargo.lock build.rs packaging/build.sh \
    packaging/built.py packaging/link.sh packaging/licenses.py packaging/abi/kvreg.map \
    packaging/abi/names.sh \
    $(shell find src -type f)
	@command -v $(CARGO) >/dev/null || { \
	    echo "$(CARGO) was not found: run make ship as who has it, then make install" >&2; exit 1; }
	$(MAKE) ship

install: $(BUILT)/THIRD-PARTY-LICENSES.txt ## into PREFIX
	packaging/install.sh install $(BUILT)

uninstall: ## out of PREFIX
	packaging/install.sh uninstall

# Components of their own, so that kvreg is installed by who has an older Rust, too.
define engine_built
$(BUILT)-$(1)/THIRD-PARTY-LICENSES-$(1).txt: Cargo.toml Cargo.lock packaging/build.sh \
    packaging/built.py packaging/link.sh packaging/licenses.py \
    $(shell find engines/$(1) -type f)
	@command -v $(CARGO) >/dev/null || { \
	    echo "$(CARGO) was not found: run make ship-engine-$(1) as who has it" >&2; exit 1; }
	$$(MAKE) ship-engine-$(1)

install-engine-$(1): $(BUILT)-$(1)/THIRD-PARTY-LICENSES-$(1).txt
endef
$(foreach it,$(SCHEMES),$(eval $(call engine_built,$(it))))

install-engine-file: ## the engine of file: URLs, to kvreg's PREFIX
install-engine-nats: ## that of nats: URLs
$(SCHEMES:%=install-engine-%): install-engine-%:
	packaging/install.sh install $(BUILT)-$* $*

uninstall-engine-file: ## it alone, out of PREFIX
uninstall-engine-nats: ## it alone
$(SCHEMES:%=uninstall-engine-%): uninstall-engine-%:
	packaging/install.sh uninstall $*

dist: dist-linux dist-aarch64 dist-windows ## the release archives

dist-linux: export COMPONENTS := $(COMPONENTS)
dist-linux: ship-portable $(COMPONENTS:%=ship-portable-engine-%) ## that for Linux on this machine
	packaging/dist.sh linux $(PORTABLE)

dist-windows: export COMPONENTS := $(WINDOWS_COMPONENTS)
dist-windows: dll $(WINDOWS_COMPONENTS:%=dll-engine-%) ## that for Windows
	packaging/dist.sh windows $(WINDOWS)

# From the archive alone, and what install and uninstall do. Without engines, which take a minute to
# build: they are tested by test-components and test-dist.
test-install: export VERSION := $(VERSION)
test-install: export GLIBC := $(GLIBC)
# By itself from its beginning to its end: as prerequisites the steps would wait behind all that
# can begin sooner, and others for the last of them.
test-install: ## the archive, installed
	@ARCHIVES=$(TESTED) $(MAKE) --no-print-directory dist-linux COMPONENTS=
	COMPONENTS= tests/install/run.sh $(TESTED)/kvreg-$(VERSION)-$(ARCH)-linux-gnu.tar.gz

# With the engine that test-engines builds, in a moment: make test-dist has the one that is shipped.
test-components: export VERSION := $(VERSION)
test-components: $(BUILT)/THIRD-PARTY-LICENSES.txt fast-engine ## the engine, installed by itself
	tests/install/components.sh $(BUILT) $(ENGINES)/build/debug/libkvreg_file.a

# The record of the interface, at a release.
abi: build ## the record of the interface, at a release
	$(PYTHON) packaging/abi/gate.py record $(if $(BREAK),--break) include/kvreg.h $(LIBRARY)

# The interface against the record; then that the gate stops what it must, in copies, and what is
# generated of headers.
test-abi: build $(VENV)/installed ## the interface against its record
	$(VENV)/bin/python packaging/abi/gate.py check include/kvreg.h $(LIBRARY)
	PYTHONPATH=packaging/abi:packaging/header $(VENV)/bin/python -X dev -W error \
	    -m pytest -p no:cacheprovider tests/abi

# At a release, after all else: checks that what belongs to it is there.
tag: ## a version, at a release
	$(PYTHON) packaging/release.py

test-release: $(VENV)/installed ## what make tag refuses
	$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider tests/release

# What is shipped with its engines, which make test leaves out; and the archives once more, built
# elsewhere.
test-dist: export VERSION := $(VERSION)
test-dist: export COMPONENTS := $(COMPONENTS)
test-dist: dist ## the archives and wheels with engines; the archives twice: the same bytes
	tests/install/sizes.sh target/archives/kvreg-$(VERSION)-*[a-z].tar.gz target/archives/kvreg-$(VERSION)-*.zip
	tests/install/shipped.sh target/archives/kvreg-$(VERSION)-x86_64-linux-gnu.tar.gz $(GLIBC)
	$(MAKE) --no-print-directory test-wheel WHEEL_COMPONENTS="$(COMPONENTS)"
	tests/install/reproducible.sh dist-linux kvreg-$(VERSION)-x86_64-linux-gnu.tar.gz \
	    kvreg-$(VERSION)-x86_64-linux-gnu-debug.tar.gz
	tests/install/reproducible.sh dist-aarch64 kvreg-$(VERSION)-aarch64-linux-gnu.tar.gz \
	    kvreg-$(VERSION)-aarch64-linux-gnu-debug.tar.gz
	tests/install/reproducible.sh dist-windows kvreg-$(VERSION)-x86_64-windows.zip
