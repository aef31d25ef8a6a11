// A program of std::map and std::string: words are counted, changed and forgotten.
#include <cstdio>
#include <map>
#include <string>

int main()
{
    std::map<std::string, std::string> words;
    unsigned long state = 88172645463325252u, sum = 0;
    for (int i = 0; i < 600000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        std::string key = "a word that is too long to stand inside a string: " + std::to_string(state % 20000);
        std::string &value = words[key];
        value += "some more of it";
        sum += value.size();
        if (state % 7 == 0)
            words.erase(key);
    }
    std::printf("%lu\n", sum);
}
