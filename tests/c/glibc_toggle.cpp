// operator new and delete that take the hooks out around malloc and free themselves, outside of every callback,
// as tests of real-time programs do to tell the two apart; and a template whose static members keep what was saved.
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

static void *(*saved_malloc)(size_t, const void *);
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;
static int mallocs, news, deletes;

static void *testing_malloc(size_t size, const void *)
{
    __malloc_hook = saved_malloc;
    mallocs++;
    void *block = std::malloc(size);
    __malloc_hook = testing_malloc;
    return block;
}

void *operator new(std::size_t size)
{
    __malloc_hook = saved_malloc;
    news++;
    void *block = std::malloc(size);
    __malloc_hook = testing_malloc;
    if (!block)
        throw std::bad_alloc();
    return block;
}

void operator delete(void *block) noexcept
{
    __malloc_hook = saved_malloc;
    deletes++;
    std::free(block);
    __malloc_hook = testing_malloc;
}

void operator delete(void *block, std::size_t) noexcept
{
    operator delete(block);
}

template <class Handler> class Hooked {
  public:
    Hooked()
    {
        save();
        set();
    }
    ~Hooked()
    {
        restore();
    }
    static Handler handler;

  private:
    static void *malloc(size_t size, const void *)
    {
        restore();
        void *block = ::malloc(size);
        handler.mallocs++;
        save();
        set();
        return block;
    }
    static void free(void *block, const void *)
    {
        restore();
        ::free(block);
        handler.frees++;
        save();
        set();
    }
    static void *realloc(void *block, size_t size, const void *)
    {
        restore();
        block = ::realloc(block, size);
        handler.reallocs++;
        save();
        set();
        return block;
    }
    static void save()
    {
        old_malloc = __malloc_hook;
        old_free = __free_hook;
        old_realloc = __realloc_hook;
    }
    static void set()
    {
        __malloc_hook = malloc;
        __free_hook = free;
        __realloc_hook = realloc;
    }
    static void restore()
    {
        __malloc_hook = old_malloc;
        __free_hook = old_free;
        __realloc_hook = old_realloc;
    }
    static void *(*old_malloc)(size_t, const void *);
    static void (*old_free)(void *, const void *);
    static void *(*old_realloc)(void *, size_t, const void *);
};
template <class Handler> Handler Hooked<Handler>::handler;
template <class Handler> void *(*Hooked<Handler>::old_malloc)(size_t, const void *);
template <class Handler> void (*Hooked<Handler>::old_free)(void *, const void *);
template <class Handler> void *(*Hooked<Handler>::old_realloc)(void *, size_t, const void *);

struct Counter {
    int mallocs, frees, reallocs;
};
struct Other : Counter {
};

static void use()
{
    do_free(do_realloc(do_malloc(10), 1000));
}

int main()
{
    {
        Hooked<Counter> outer;
        use();
        {
            Hooked<Other> inner;
            use();
            use();
        }
        use();
    }
    use();
    Counter &a = Hooked<Counter>::handler, &b = Hooked<Other>::handler;
    std::printf("outer %d %d %d, ", a.mallocs, a.frees, a.reallocs);
    std::printf("inner %d %d %d\n", b.mallocs, b.frees, b.reallocs);

    saved_malloc = __malloc_hook;
    __malloc_hook = testing_malloc;
    {
        std::vector<std::unique_ptr<int>> all;
        all.reserve(10);
        for (int i = 0; i < 10; i++)
            all.push_back(std::unique_ptr<int>(new int(i)));
        use();
    }
    __malloc_hook = saved_malloc;
    int found[] = {mallocs, news, deletes};
    std::printf("mallocs %d, news %d, deletes %d\n", found[0], found[1], found[2]);
    return 0;
}
