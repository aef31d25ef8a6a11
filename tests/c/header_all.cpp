// Everything in the header, used once, in C++.
#include "header_all.c"
