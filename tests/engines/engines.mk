# Engines of stores: what any must do (conformance.c), of the example and of others.

ENGINES := target/engines

$(ENGINES)/libkvreg_dir.so: engines/dir/dir.c include/kvreg_engine.h include/kvreg.h
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -shared -fPIC -fvisibility=hidden $< -o $@

$(ENGINES)/conformance: tests/engines/conformance.c tests/c/check.h include/kvreg.h | build
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -Itests/c $< -o $@ $(C_LINK)

$(ENGINES)/conformance_shared: tests/engines/conformance_shared.c tests/engines/sharing.h \
    tests/c/check.h include/kvreg.h | build
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -Itests/c $< -o $@ $(C_LINK)

$(ENGINES)/test_shared: tests/engines/test_shared.c tests/engines/pool.c tests/engines/pool.h \
    tests/engines/sharing.h tests/c/check.h include/kvreg.h include/kvreg_engine.h | build
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -Itests/c tests/engines/test_shared.c tests/engines/pool.c -o $@ $(C_LINK)

# Beside the library: release/libkvreg_file.so and so on.
engine-file: ## the engine of file: URLs
engine-nats: ## that of nats: URLs
$(SCHEMES:%=engine-%): engine-%:
	$(CARGO) build --release -p kvreg-$* --config engines/$*/profile.toml

# In a directory of its own, so that it waits for no other build, and without what takes long.
FAST_ENGINE := CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 \
    CARGO_TARGET_DIR=$(ENGINES)/build

# For what needs one, but not the one that is shipped.
.PHONY: fast-engine
fast-engine:
	$(FAST_ENGINE) $(CARGO) build -p kvreg-file

# As the tests in C: plainly, then with smaller counts under valgrind.
test-engines: $(ENGINES)/conformance $(ENGINES)/libkvreg_dir.so $(ENGINES)/test_shared ## engines: the example, a shared one, and that of file: URLs
	$(ENGINES)/test_shared
	KVREG_TEST_COUNT=50 $(VALGRIND) --child-silent-after-fork=yes $(ENGINES)/test_shared
	tests/engines/run.sh $(ENGINES)/conformance dir $(ENGINES)/libkvreg_dir.so "$(VALGRIND)"
	$(FAST_ENGINE) $(CARGO) test -p kvreg-file
	$(FAST_ENGINE) $(CARGO) build -p kvreg-file
	tests/engines/run.sh $(ENGINES)/conformance file $(ENGINES)/build/debug/libkvreg_file.so

test-engine: $(ENGINES)/conformance ## any engine: ENGINE=./libkvreg_x.so URL=x:somewhere/empty
	$(ENGINES)/conformance "$(URL)" "$(ENGINE)"
