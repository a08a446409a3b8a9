// The header alone, after what other headers define, as windows.h does.
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define ERROR 0
#define IN
#define OUT
#include "kvreg.hpp"

int main() { return kvreg::attempt([] { return 0; }).value(); }
