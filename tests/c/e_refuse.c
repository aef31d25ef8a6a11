/* Runs a program with membarrier(2) refused by a seccomp filter: e_refuse ERRNO PROGRAM... */
#include "e_filter.h"
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 3 || refuse_membarrier(atoi(argv[1])) != 0)
        return 111;
    execv(argv[2], argv + 2);
    return 112;
}
