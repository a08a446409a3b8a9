# kvreg.hpp as C++17 and C++20: by clang, and by gcc with its sanitizers and its own dialect.

CPP_FLAGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -g -pthread -Iinclude -Itests/c
CPP_HEADER_FLAGS := $(CPP_FLAGS) -Wold-style-cast -Wsign-conversion -Wnon-virtual-dtor -Wextra-semi
SANITIZED := -fsanitize=address,undefined -fno-sanitize-recover=all
CPP_WAYS := clang-17 clang-20 gcc-17 gcc-20
# What must not compile, as header.cpp numbers it: by each compiler once.
CPP_REFUSED := 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17
CPP_REFUSE := clang-17 gcc-20

test-cpp: build ## kvreg.hpp, by two compilers
	@$(MAKE) $(AT_A_TIME) --output-sync=target --no-print-directory $(CPP_WAYS:%=test-cpp-%)

CPP_clang := clang++ -std=c++
CPP_gcc := g++ $(SANITIZED) -std=gnu++
# Of clang-17: clang's words, and 17 right behind them.
CPP_COMPILER = $(CPP_$(word 1,$(subst -, ,$*)))$(word 2,$(subst -, ,$*))

$(CPP_WAYS:%=test-cpp-%): test-cpp-%:
	@mkdir -p target/cpp
	@set -e; echo "== kvreg.hpp, $(CPP_COMPILER)"; made=target/cpp/$@; \
	for flags in -frtti -fno-rtti "-fno-rtti -fno-exceptions"; do \
	    $(CPP_COMPILER) $$flags $(CPP_HEADER_FLAGS) -fsyntax-only tests/cpp/header.cpp; \
	done; \
	for refused in $(if $(filter $*,$(CPP_REFUSE)),$(CPP_REFUSED)); do \
	    if $(CPP_COMPILER) $(CPP_FLAGS) -DREFUSED=$$refused -fsyntax-only tests/cpp/header.cpp \
	        2>$$made.log; then \
	        echo "header.cpp: REFUSED=$$refused compiles"; exit 1; \
	    fi; \
	    sentence=$$(sed -n "s,.* REFUSED == $$refused // SENTENCE: ,,p" tests/cpp/header.cpp); \
	    grep -q "$$sentence" $$made.log || \
	        { echo "header.cpp: REFUSED=$$refused does not say why"; exit 1; }; \
	done; \
	$(CPP_COMPILER) $(CPP_FLAGS) tests/cpp/test_kvreg.cpp -o $$made $(C_LINK); \
	$(CPP_COMPILER) $(CPP_FLAGS) tests/cpp/test_own_servers.cpp -o $$made-servers $(C_LINK); \
	$(CPP_COMPILER) $(CPP_FLAGS) -fno-exceptions tests/cpp/test_results.cpp -o $$made-results \
	    $(C_LINK); \
	for program in $$made $$made-servers $$made-results; do \
	    $$program >$$made.log || { cat $$made.log; exit 1; }; \
	    tail -n 1 $$made.log; \
	done
