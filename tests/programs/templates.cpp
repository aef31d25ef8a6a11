// Compiled only: work for the compiler's allocator.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Node : Node<N - 1> {
    std::tuple<std::vector<std::array<int, N>>, std::map<std::string, Node<N - 1>>> members;
    virtual int depth() const { return Node<N - 1>::depth() + static_cast<int>(std::get<0>(members).size()); }
};
template <> struct Node<0> {
    virtual ~Node() = default;
    virtual int depth() const { return 0; }
};

template <class... T> int visit_all(const std::vector<std::variant<T...>> &all)
{
    int sum = 0;
    for (const auto &one : all)
        sum += std::visit([](const auto &value) { return static_cast<int>(sizeof value); }, one);
    return sum;
}

template <std::size_t... I> int many(std::index_sequence<I...>)
{
    return (visit_all(std::vector<std::variant<std::array<char, I + 1>, std::string, Node<I % 8>>>{}) + ...);
}

int main(int argc, char **argv)
{
    std::unordered_map<std::string, std::function<int(const std::string &)>> functions;
    functions["depth"] = [](const std::string &) { return Node<10>().depth(); };
    functions["many"] = [](const std::string &) { return many(std::make_index_sequence<12>()); };
    functions["match"] = [](const std::string &text) {
        return std::regex_match(text, std::regex("([a-z]+)(-[0-9]{2,3})*", std::regex::icase)) ? 1 : 0;
    };
    std::multiset<std::shared_ptr<std::string>> rest;
    for (int i = 1; i < argc; i++)
        rest.insert(std::make_shared<std::string>(argv[i]));
    int sum = 0;
    for (auto &[name, function] : functions)
        sum += function(rest.empty() ? name : **rest.begin());
    return sum & 1;
}
