# What is shipped, and where it goes.

PREFIX ?= /usr/local
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR ?= $(PREFIX)/lib
DOCDIR ?= $(PREFIX)/share/doc/kvreg

VERSION := $(shell sed -n '/^version/{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
BUILT := target/ship/built

install uninstall: export PREFIX := $(PREFIX)
install uninstall: export INCLUDEDIR := $(INCLUDEDIR)
install uninstall: export LIBDIR := $(LIBDIR)
install uninstall: export DOCDIR := $(DOCDIR)
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall ship ship-portable dist-linux dist-windows: export VERSION := $(VERSION)

.PHONY: ship ship-portable install uninstall dist dist-linux dist-windows abi test-abi \
    test-install test-dist

# For this system.
ship:
	packaging/build.sh $(BUILT)

# For older ones too: as old as Rust's standard library allows. The same whoever builds it.
GLIBC := 2.17
PORTABLE := target/ship/portable

$(VENV)/zig: packaging/requirements.txt | $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	printf '#!/bin/sh\nexec "%s" -m ziglang cc -target x86_64-linux-gnu.$(GLIBC) "$$@"\n' \
	    "$(CURDIR)/$(VENV)/bin/python" >$@
	chmod +x $@

ship-portable: export ZIG_GLOBAL_CACHE_DIR := $(CURDIR)/target/zig
ship-portable: $(VENV)/zig
	env -u RUSTFLAGS -u LDFLAGS -u CARGO_PROFILE_RELEASE_DEBUG CC="$(VENV)/zig" LDLIBS=-lunwind \
	    packaging/build.sh $(PORTABLE)

# What is built already is only copied: root, who installs, often has no cargo, and should neither
# fetch crates nor leave files here. The licences are written last.
$(BUILT)/THIRD-PARTY-LICENSES.txt: Cargo.toml Cargo.lock build.rs cbindgen.toml packaging/build.sh \
    packaging/link.sh packaging/licenses.py packaging/abi/kvreg.map packaging/abi/names.sh \
    $(shell find src -type f)
	@command -v $(CARGO) >/dev/null || { \
	    echo "$(CARGO) was not found: run make ship as who has it, then make install" >&2; exit 1; }
	$(MAKE) ship

install: $(BUILT)/THIRD-PARTY-LICENSES.txt
	packaging/install.sh install $(BUILT)

uninstall:
	packaging/install.sh uninstall

dist: dist-linux dist-windows

dist-linux: ship-portable
	packaging/dist.sh linux $(PORTABLE)

dist-windows: dll
	packaging/dist.sh windows $(WINDOWS)

# From the archive alone, and what install and uninstall do.
test-install: export VERSION := $(VERSION)
test-install: export GLIBC := $(GLIBC)
test-install: dist-linux
	tests/install/run.sh target/archives/kvreg-$(VERSION)-x86_64-linux-gnu.tar.gz

# The record of the interface, at a release.
abi: build
	$(PYTHON) packaging/abi/gate.py record $(if $(BREAK),--break) include/kvreg.h $(LIBRARY)

# The interface against the record; then that the gate stops what it must, in copies of the sources.
test-abi: build $(VENV)/installed
	$(VENV)/bin/python packaging/abi/gate.py check include/kvreg.h $(LIBRARY)
	$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider tests/abi

# Builds the archives once more, elsewhere.
test-dist: dist
	tests/install/reproducible.sh target/archives/kvreg-$(VERSION)-x86_64-linux-gnu.tar.gz dist-linux
	tests/install/reproducible.sh target/archives/kvreg-$(VERSION)-x86_64-windows.zip dist-windows
