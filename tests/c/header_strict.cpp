// The same in C++.
#include "header_strict.c"
