# Windows on x86-64, built by MinGW and tested under Wine: Debian's packages alone.

WINDOWS := target/windows

# kvreg.dll, its import libraries, and kvreg.def, which says what it exports.
dll: ## kvreg.dll, by MinGW
	@tests/requirements.sh windows
	packaging/windows/dll.sh $(WINDOWS)
	$(PYTHON) packaging/licenses.py x86_64-pc-windows-gnu $(WINDOWS)/THIRD-PARTY-LICENSES.txt

dll-engine-file: ## kvreg_file.dll, the engine of file: URLs
dll-engine-nats: ## kvreg_nats.dll, that of nats: URLs
$(SCHEMES:%=dll-engine-%): dll-engine-%:
	@tests/requirements.sh windows
	packaging/windows/dll.sh $(WINDOWS)-$* $*
	$(PYTHON) packaging/licenses.py x86_64-pc-windows-gnu $(WINDOWS)-$*/THIRD-PARTY-LICENSES-$*.txt $*

# The Python package with kvreg.dll, and with the extension and without.
wheel-windows: export KVREG_BUILT := $(CURDIR)/$(WINDOWS)/kvreg.dll
wheel-windows: export KVREG_BUILT_ENGINES := $(foreach it,$(filter $(IN_WHEEL),$(WINDOWS_COMPONENTS)),../windows-$(it)/kvreg_$(it).dll)
wheel-windows: dll $(WINDOWS_COMPONENTS:%=dll-engine-%) $(VENV)/installed ## the wheel for Windows
	$(VENV)/bin/python packaging/native.py $(WINDOWS)/_native.pyd x86_64-w64-mingw32-gcc-posix
	rm -rf $(WINDOWS)/wheels
	$(VENV)/bin/python -m build --wheel --outdir $(WINDOWS)/wheels bindings/python
	KVREG_PURE=1 $(VENV)/bin/python -m build --wheel --outdir $(WINDOWS)/wheels bindings/python

test-windows: dist-windows wheel-windows ## the DLL and all for Windows, under Wine
	tests/windows/run.sh $(WINDOWS)
	tests/windows/msvc.sh $(WINDOWS) $(WINDOWS)/tests
	PYTHON=$(VENV)/bin/python tests/windows/python.sh $(WINDOWS)/wheels/*-abi3-*.whl $(WINDOWS)/tests
	VERSION=$(VERSION) COMPONENTS="$(WINDOWS_COMPONENTS)" tests/windows/archive.sh target/archives/kvreg-$(VERSION)-x86_64-windows.zip \
	    $(WINDOWS)/tests
	@echo "test-windows: all passed under Wine"
