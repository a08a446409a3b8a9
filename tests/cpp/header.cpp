// The header alone, after what other headers define: windows.h, Qt's, Apple's, Unreal's.
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define ERROR 0
#define IN
#define OUT
#define small char
#define near
#define far
#define interface struct
#define forever for (;;)
#define foreach(variable, container) for (variable : container)
#define emit
#define signals public
#define slots
#define check(expression)
#define ensure(expression)
#define require(expression, label)
#define verify(expression)
#include "kvreg.hpp"

int main() { return kvreg::attempt([] { return 0; }).value(); }
