# The examples, as their first lines say they are built, and their tests.

EXAMPLES := target/examples
EXAMPLE_FLAGS := $(C_FLAGS) -Wconversion

$(EXAMPLES)/%: bindings/c/%.c bindings/c/kvreg_macros.h include/kvreg.h | build
	@mkdir -p $(EXAMPLES)
	$(CC) $(EXAMPLE_FLAGS) $< -o $@ $(C_LINK)

$(EXAMPLES)/connection_pool: bindings/cpp/connection_pool.cpp include/kvreg.hpp include/kvreg.h | build
	@mkdir -p $(EXAMPLES)
	$(CXX) $(filter-out -std=%,$(EXAMPLE_FLAGS)) -std=c++17 -Wshadow $< -o $@ $(C_LINK)

HOSTS := $(EXAMPLES)/host $(EXAMPLES)/python_host
$(HOSTS): $(EXAMPLES)/%: bindings/c/plugins/%.c bindings/c/plugins/plugin.h bindings/c/kvreg_macros.h | build
	@mkdir -p $(EXAMPLES)
	$(CC) $(EXAMPLE_FLAGS) $< -o $@ $(C_LINK) -ldl

$(EXAMPLES)/%.so: bindings/c/plugins/%.c bindings/c/plugins/plugin.h bindings/c/kvreg_macros.h | build
	@mkdir -p $(EXAMPLES)
	$(CC) $(EXAMPLE_FLAGS) -shared -fPIC $< -o $@ $(C_LINK)

EXAMPLE_PROGRAMS := event_loop worker_pool rate_limiter connection_pool host python_host \
    counter.so faulty.so

test-examples: export EXAMPLES := $(CURDIR)/$(EXAMPLES)
test-examples: export KVREG_LIBRARY := $(CURDIR)/$(LIBRARY)
test-examples: $(EXAMPLE_PROGRAMS:%=$(EXAMPLES)/%) $(VENV)/installed ## the examples in C, C++ and Python
	$(VENV)/bin/python -X dev -W error -m pytest \
	    -p no:cacheprovider tests/examples
