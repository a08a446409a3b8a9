# The C tests under ThreadSanitizer, with it in kvreg, its dependencies and std. By itself, for
# std is built too: that takes more than the stable toolchain.

test-tsan: ## the tests in C under ThreadSanitizer, std in it too
	@tests/requirements.sh tsan
	@tests/requirements.sh tsan-runtime
	tests/tsan/build.sh . target/tsan/lib
	tests/tsan/instrumented.sh target/tsan/lib/libkvreg.so
	tests/tsan/run.sh target/tsan/c target/tsan/lib
	tests/tsan/broken.sh target/tsan/c/handover
	@echo "test-tsan: no races, and those that were made were seen"
