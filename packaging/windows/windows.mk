# Windows on x86-64, built by MinGW and tested under Wine: Debian's packages alone.

.PHONY: dll test-windows

WINDOWS := target/windows

# kvreg.dll, its import library for MinGW, and kvreg.def, of which others make theirs.
dll:
	@tests/requirements.sh windows
	packaging/windows/dll.sh $(WINDOWS)

test-windows: dist-windows
	tests/windows/run.sh $(WINDOWS)
	VERSION=$(VERSION) tests/windows/archive.sh target/archives/kvreg-$(VERSION)-x86_64-windows.zip \
	    $(WINDOWS)/tests
	@echo "test-windows: all passed under Wine"
