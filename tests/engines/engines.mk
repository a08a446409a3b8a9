# Engines of stores: what any must do (conformance.c), of the example and of others.

ENGINES := target/engines

$(ENGINES)/libkvreg_dir.so: engines/dir/dir.c include/kvreg_engine.h include/kvreg.h
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -shared -fPIC -fvisibility=hidden $< -o $@

$(ENGINES)/conformance: tests/engines/conformance.c tests/c/check.h include/kvreg.h | build
	@mkdir -p $(ENGINES)
	$(CC) $(C_FLAGS) -Itests/c $< -o $@ $(C_LINK)

# As the tests in C: plainly, then with smaller counts under valgrind.
test-engines: $(ENGINES)/conformance $(ENGINES)/libkvreg_dir.so ## the engine that is an example
	tests/engines/run.sh "$(VALGRIND)" $(ENGINES) dir $(ENGINES)/libkvreg_dir.so

test-engine: $(ENGINES)/conformance ## any engine: ENGINE=./libkvreg_x.so URL=x:somewhere/empty
	$(ENGINES)/conformance "$(URL)" "$(ENGINE)"
