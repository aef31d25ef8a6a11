// A callback takes itself out of the variable and leaves by an exception, or by longjmp: it is out from then on.
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <new>

static int called;
static bool jump;
static std::jmp_buf out;
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static void *once(size_t, const void *)
{
    __malloc_hook = nullptr;
    called++;
    if (jump)
        std::longjmp(out, 1);
    throw std::bad_alloc();
}

int main()
{
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    __malloc_hook = once;
    volatile int caught = 0;
    for (int i = 0; i < 3; i++) {
        try {
            int *volatile number = new int;
            delete number;
        } catch (std::bad_alloc &) {
            caught = caught + 1;
        }
    }
    std::printf("called %d, caught %d, ", called, caught);
    jump = true;
    __malloc_hook = once;
    if (setjmp(out) == 0)
        do_malloc(10);
    std::printf("out: %s, ", __malloc_hook ? "no" : "yes");
    do_free(do_malloc(10));
    std::printf("called %d\n", called);
    return 0;
}
