# kvreg.hpp as C++17 and C++20: by clang, and by gcc with its sanitizers and its own dialect.

CPP_FLAGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -g -pthread -Iinclude -Itests/c
CPP_HEADER_FLAGS := $(CPP_FLAGS) -Wold-style-cast -Wsign-conversion -Wnon-virtual-dtor -Wextra-semi
SANITIZED := -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: test-cpp

test-cpp: build
	@mkdir -p target/cpp
	@set -e; for compiler in "clang++ -std=c++" "g++ $(SANITIZED) -std=gnu++"; do \
	for standard in 17 20; do \
	    echo "== kvreg.hpp, $$compiler$$standard"; \
	    for flags in -frtti -fno-rtti; do \
	        $$compiler$$standard $$flags $(CPP_HEADER_FLAGS) -fsyntax-only tests/cpp/header.cpp; \
	    done; \
	    for refused in 1 2 3 4 5 6; do \
	        if $$compiler$$standard $(CPP_FLAGS) -DREFUSED=$$refused -fsyntax-only \
	            tests/cpp/header.cpp 2>target/cpp/log; then \
	            echo "header.cpp: REFUSED=$$refused compiles"; exit 1; \
	        fi; \
	    done; \
	    $$compiler$$standard $(CPP_FLAGS) tests/cpp/test_kvreg.cpp -o target/cpp/test_kvreg \
	        $(C_LINK); \
	    target/cpp/test_kvreg >target/cpp/log || { cat target/cpp/log; exit 1; }; \
	    tail -n 1 target/cpp/log; \
	done; done
