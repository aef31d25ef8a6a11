// thread_local objects whose destructors allocate and free.
#include "e_check.h"
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

static unsigned long destroyed, observed;

struct Holder {
    std::map<int, std::string> map;
    std::unique_ptr<std::string> last;
    ~Holder()
    {
        for (int i = 0; i < 50; i++)
            map[i + 1000] = std::string(100 + static_cast<size_t>(i), 'x');
        last = std::make_unique<std::string>(300, 'y');
        __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    }
};
thread_local Holder holder;
thread_local std::vector<std::unique_ptr<Holder>> more;

static void before_free(const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
    __atomic_fetch_add(&observed, 1, __ATOMIC_RELAXED);
}

int main()
{
    static struct e_user user = {E_ALIVE, 0, 0}, owner;
    memhook_observer table = {};
    table.struct_size = sizeof table;
    table.user = &user;
    table.before_free = before_free;
    memhook_id id, second;
    CHECK(memhook_observe(&table, &id) == 0);
    CHECK(e_intercept(&owner, &second) == 0);
    for (int round = 0; round < 50; round++) {
        std::vector<std::thread> threads;
        for (int n = 0; n < 4; n++)
            threads.emplace_back([n] {
                for (int i = 0; i < 20; i++)
                    holder.map[i] = std::to_string(i * n);
                more.push_back(std::make_unique<Holder>());
            });
        for (auto &thread : threads)
            thread.join();
    }
    CHECK(observed > 50ul * 4 * 2 * 50);
    int result = memhook_unregister(second);
    size_t live;
    CHECK(memhook_live_blocks(second, &live) == 0);
    CHECK(result == (live ? EINPROGRESS : 0));
    CHECK(memhook_unregister(id) == 0);
    e_gone(&user);
    printf("%lu objects destroyed\n", destroyed);
    return 0;
}
