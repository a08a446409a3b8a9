# Linux on aarch64: the archive and the wheel are built across, and tested under QEMU.

AARCH64 := aarch64-unknown-linux-gnu

need-aarch64: ## what building for aarch64 needs
	@tests/requirements.sh aarch64

dist-aarch64: need-aarch64 ## the archive for aarch64
	$(MAKE) dist-linux CARGO_BUILD_TARGET=$(AARCH64)

wheel-aarch64: need-aarch64 ## the wheel for aarch64
	$(MAKE) wheel CARGO_BUILD_TARGET=$(AARCH64)

# From the archive and the wheel, with a C library and a Python of Debian's. The tests ask that C
# library for more than the library may.
test-aarch64: dist-aarch64 wheel-aarch64 ## both, under QEMU
	@tests/requirements.sh aarch64-tests
	VERSION=$(VERSION) COMPONENTS="$(COMPONENTS)" CC="$(TOOLS)/zig-aarch64 -target aarch64-linux-gnu.2.33" tests/aarch64/run.sh \
	    target/archives/kvreg-$(VERSION)-aarch64-linux-gnu.tar.gz target/wheels/$(AARCH64)/*-abi3-*.whl \
	    target/aarch64
