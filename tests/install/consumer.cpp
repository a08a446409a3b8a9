// What a program in C++ does with an installed kvreg.
#include <iostream>
#include <kvreg.hpp>

int main() {
    kvreg::registry registry;
    std::cout << registry.execute("CREATE shopping");
}
