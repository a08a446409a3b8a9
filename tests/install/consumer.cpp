// What a program in C++ does with an installed kvreg.
#include <iostream>
#include <kvreg.hpp>

int main() {
    auto registry = kvreg::registry::start();
    std::cout << registry.execute("CREATE shopping");
}
