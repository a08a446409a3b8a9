# kvreg.hpp as C++17 and C++20: by clang, and by gcc with its sanitizers.

CPP_FLAGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -g -pthread -Iinclude -Itests/c
SANITIZED := -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: test-cpp

test-cpp: build
	@mkdir -p target/cpp
	@set -e; for compiler in "clang++" "g++ $(SANITIZED)"; do for standard in 17 20; do \
	    echo "== kvreg.hpp, $$compiler -std=c++$$standard"; \
	    for flags in -frtti -fno-rtti; do \
	        $$compiler -std=c++$$standard $$flags $(CPP_FLAGS) -fsyntax-only tests/cpp/header.cpp; \
	    done; \
	    $$compiler -std=c++$$standard $(CPP_FLAGS) tests/cpp/test_kvreg.cpp -o target/cpp/test_kvreg \
	        $(C_LINK); \
	    target/cpp/test_kvreg >target/cpp/log || { cat target/cpp/log; exit 1; }; \
	    tail -n 1 target/cpp/log; \
	done; done
