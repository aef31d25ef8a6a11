// Maps, strings and what else of C++ allocates, some of it to the end.
#include <cstdio>
#include <list>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

struct alignas(64) Line {
    char bytes[128];
};

static std::map<std::string, std::vector<int>> *kept;
static std::unordered_map<int, std::shared_ptr<std::string>> global;
static Line *volatile lines;

static std::string word(int n)
{
    std::string text;
    for (int i = 0; i <= n % 60; i++)
        text += static_cast<char>('a' + (n + i) % 26);
    return text + std::to_string(n);
}

static int fails(int n)
{
    try {
        if (n % 3 == 0)
            throw std::runtime_error("a message that is too long for the string itself: " + word(n));
        return 0;
    } catch (const std::exception &) {
        return 1;
    }
}

int main()
{
    kept = new std::map<std::string, std::vector<int>>;
    int failed = 0;
    for (int n = 0; n < 3000; n++) {
        std::vector<int> &numbers = (*kept)[word(n * 7919 % 1000)];
        for (int i = 0; i < n % 17; i++)
            numbers.push_back(i);
        if (n % 5 == 0)
            kept->erase(word(n * 31 % 1000));
        global[n % 400] = std::make_shared<std::string>(word(n));
        failed += fails(n);
    }
    {
        std::list<std::string> all;
        std::ostringstream text;
        for (const auto &[key, numbers] : *kept) {
            all.push_back(key + key);
            text << key << ' ' << numbers.size() << '\n';
        }
        all.sort();
        lines = new Line[20]; // the peak
        std::printf("%d failed, %zu words, %zu bytes\n", failed, all.size(), text.str().size());
    }
    auto some = std::make_unique<Line>();
    auto array = std::make_unique<std::string[]>(10);
    for (int i = 0; i < 10; i++)
        array[i] = word(i * 50);
    while (kept->size() > 100)
        kept->erase(kept->begin());
    return 0;
}
