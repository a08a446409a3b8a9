# kvreg.hpp as C++17 and C++20: by clang, and by gcc in its own dialect. The programs are compiled in
# all four ways, and run in two, one of them with sanitizers: what they do is the header's affair,
# and code takes longer to make than to check.

CPP_FLAGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -g1 -pthread -Iinclude -Itests/c
CPP_HEADER_FLAGS := $(CPP_FLAGS) -Wold-style-cast -Wsign-conversion -Wnon-virtual-dtor -Wextra-semi
SANITIZED := -fsanitize=address,undefined -fno-sanitize-recover=all
CPP_WAYS := clang-17 clang-20 gcc-17 gcc-20
CPP_RUN := clang-17 gcc-20
CPP_SANITIZED := gcc-20
CPP_PROGRAMS := test_kvreg test_own_servers test_stores
# What must not compile, as refused.cpp numbers it: by each compiler once.
CPP_REFUSED := 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17
CPP_REFUSE := clang-17 gcc-20

test-cpp: build ## kvreg.hpp, by two compilers
	@$(MAKE) $(AT_A_TIME) --output-sync=target --no-print-directory $(CPP_WAYS:%=test-cpp-%)

CPP_clang := clang++ -std=c++
CPP_gcc = g++ $(if $(filter $*,$(CPP_SANITIZED)),$(SANITIZED)) -std=gnu++
# Of clang-17: clang's words, and 17 right behind them.
CPP_COMPILER = $(CPP_$(word 1,$(subst -, ,$*)))$(word 2,$(subst -, ,$*))

# The header is compiled once, and read by all of them.
define CPP_REFUSES
mkdir -p $$made-header; \
	$(CPP_COMPILER) $(CPP_FLAGS) -x c++-header include/kvreg.hpp -o $$made-header/kvreg.hpp.gch; \
	for refused in $(CPP_REFUSED); do \
	    if $(CPP_COMPILER) $(CPP_FLAGS) -include $$made-header/kvreg.hpp -DREFUSED=$$refused \
	        -fsyntax-only tests/cpp/refused.cpp 2>$$made.log; then \
	        echo "refused.cpp: $$refused compiles"; exit 1; \
	    fi; \
	    grep -q "refused.cpp:[0-9]" $$made.log || { cat $$made.log; exit 1; }; \
	    sentence=$$(sed -n "s,.* REFUSED == $$refused // SENTENCE: ,,p" tests/cpp/refused.cpp); \
	    grep -q "$$sentence" $$made.log || \
	        { echo "refused.cpp: $$refused does not say why"; exit 1; }; \
	done;
endef

define CPP_COMPILES
for program in $(CPP_PROGRAMS); do \
	    $(CPP_COMPILER) $(CPP_FLAGS) -fsyntax-only tests/cpp/$$program.cpp; \
	done; \
	$(CPP_COMPILER) $(CPP_FLAGS) -fno-exceptions -fsyntax-only tests/cpp/test_results.cpp
endef

define CPP_RUNS
for program in $(CPP_PROGRAMS); do \
	    $(CPP_COMPILER) $(CPP_FLAGS) tests/cpp/$$program.cpp -o $$made-$$program $(C_LINK); \
	done; \
	$(CPP_COMPILER) $(CPP_FLAGS) -fno-exceptions tests/cpp/test_results.cpp \
	    -o $$made-test_results $(C_LINK); \
	for program in $(CPP_PROGRAMS) test_results; do \
	    $$made-$$program >$$made.log || { cat $$made.log; exit 1; }; \
	    tail -n 1 $$made.log; \
	done
endef

$(CPP_WAYS:%=test-cpp-%): test-cpp-%:
	@mkdir -p target/cpp
	@set -e; echo "== kvreg.hpp, $(CPP_COMPILER)"; made=target/cpp/$@; \
	for flags in -frtti -fno-rtti "-fno-rtti -fno-exceptions"; do \
	    $(CPP_COMPILER) $$flags $(CPP_HEADER_FLAGS) -fsyntax-only tests/cpp/header.cpp; \
	done; \
	$(if $(filter $*,$(CPP_REFUSE)),$(CPP_REFUSES)) \
	$(if $(filter $*,$(CPP_RUN)),$(CPP_RUNS),$(CPP_COMPILES))
