/* Callbacks that use std::string, containers and streams. */
#include "check.h"
#include <map>
#include <sstream>
#include <string>
#include <vector>

static int depth, calls;

static void work()
{
    CHECK(depth == 0);
    depth++;
    calls++;
    std::string text(1000, 'x');
    std::map<std::string, std::vector<int>> books;
    for (int i = 0; i < 20; i++) {
        std::ostringstream out;
        out << text << i;
        books[out.str()].push_back(i);
    }
    CHECK(books.size() == 20);
    try {
        throw std::string("thrown and caught inside");
    } catch (const std::string &what) {
        CHECK(what.size() == 24);
    }
    depth--;
}

static void after(const memhook_call *, void *, void *)
{
    work();
}

static void before(const memhook_call *, void *)
{
    work();
}

int main()
{
    memhook_observer table = {};
    table.struct_size = sizeof table;
    table.after_alloc = after;
    table.before_free = before;
    memhook_id id;
    OK(memhook_observe(&table, &id));
    {
        std::string text(5000, 'y');
        int *number = new int(5);
        CHECK(hide(number) && text.size() == 5000);
        delete number;
    }
    OK(memhook_unregister(id));
    SAME(calls, 4);
    puts("strings in callbacks");
}
