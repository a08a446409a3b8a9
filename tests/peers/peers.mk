# The tests of other libraries, with kvreg in the place of what these libraries have. Their sources
# come from PyPI and stay in target: nothing of them is here.

PEERS := target/peers
PYKKA := pykka-4.5.0

$(PEERS)/venv/installed: tests/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)/venv
	$(PEERS)/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(PEERS)/$(PYKKA)/pyproject.toml: $(PEERS)/venv/installed
	$(PEERS)/venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
	    --no-binary pykka --dest $(PEERS) $(subst -,==,$(PYKKA))
	tar -xzf $(PEERS)/$(PYKKA).tar.gz -C $(PEERS)
	@touch $@

test-peers: export KVREG_LIBRARY := $(CURDIR)/$(LIBRARY)
test-peers: build $(PEERS)/$(PYKKA)/pyproject.toml ## pykka's own tests, with kvreg as its runtime
	cd $(PEERS)/$(PYKKA) && \
	    PYTHONPATH=$(CURDIR)/bindings/python:$(CURDIR)/tests/peers:src \
	    ../venv/bin/python -m pytest -q --rootdir . -p no:cacheprovider -p pykka_plugin tests
