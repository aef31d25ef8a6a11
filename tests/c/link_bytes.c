/* Linked with the library's own memcpy and its fellows (src/sys/bytes_*.s): compares them with loops, for all lengths up to
 * 300, at all distances and offsets that matter, with unmapped pages on both sides of what they are given. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern int bcmp(const void *, const void *, size_t);

enum { LONGEST = 300 };

static size_t page;

/* A page between two that nobody may touch. */
static unsigned char *between_guards(void)
{
    unsigned char *all = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, page, PROT_READ | PROT_WRITE) != 0)
        _exit(2);
    return all + page;
}

static void expect(int fine, const char *what, size_t length, size_t at)
{
    if (fine)
        return;
    printf("%s: %zu bytes, %zu\n", what, length, at);
    fflush(stdout);
    _exit(1);
}

static unsigned char byte_of(size_t i)
{
    return (unsigned char)(i * 7 + (i >> 8) + 1);
}

static void fill(unsigned char *at)
{
    for (size_t i = 0; i < page; i++)
        at[i] = byte_of(i);
}

/* From one place of a page to another, which may overlap. */
static void move(unsigned char *memory, size_t to, size_t from, size_t length)
{
    fill(memory);
    expect(memmove(memory + to, memory + from, length) == memory + to, "memmove returns", length, to);
    for (size_t i = 0; i < page; i++) {
        unsigned char right = i - to < length ? byte_of(from + (i - to)) : byte_of(i);
        expect(memory[i] == right, "memmove", length, to - from);
    }
}

int main(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *a = between_guards(), *b = between_guards();
    for (size_t length = 0; length <= LONGEST; length++) {
        /* Directly before and behind what may not be touched. */
        size_t end = page - length;
        fill(a);
        memset(b, 0, page);
        expect(memcpy(b + end, a, length) == b + end, "memcpy returns", length, 0);
        for (size_t i = 0; i < page; i++)
            expect(b[i] == (i < end ? 0 : byte_of(i - end)), "memcpy", length, i);
        memset(b, 0, page);
        memcpy(b, a + end, length);
        for (size_t i = 0; i < page; i++)
            expect(b[i] == (i < length ? byte_of(end + i) : 0), "memcpy", length, i);

        for (size_t distance = 0; distance <= 70; distance++) {
            move(a, 1000, 1000 + distance, length);
            move(a, 1000 + distance, 1000, length);
        }
        move(a, 0, length < 70 ? 0 : 3, length);
        move(a, end, end < 3 ? 0 : end - 3, length);

        for (size_t at = 0; at <= 17; at++) {
            fill(a);
            expect(memset(a + at, (int)(0x700 + length), length) == a + at, "memset returns", length, at);
            for (size_t i = 0; i < page; i++)
                expect(a[i] == (i - at < length ? (unsigned char)length : byte_of(i)), "memset", length, at);
        }
        fill(a);
        memset(a + end, 0xee, length);
        for (size_t i = 0; i < page; i++)
            expect(a[i] == (i < end ? byte_of(i) : 0xee), "memset", length, end);

        fill(a);
        memcpy(b + end, a, length);
        expect(memcmp(a, b + end, length) == 0 && bcmp(a, b + end, length) == 0, "memcmp", length, 0);
        for (size_t at = 0; at < length; at++) {
            for (unsigned change = 1; change < 256; change += 127) {
                b[end + at] = (unsigned char)(a[at] + change);
                /* What follows says the opposite. */
                if (at + 1 < length)
                    b[end + at + 1] = b[end + at] > a[at] ? 0 : 255;
                int right = a[at] < b[end + at] ? -1 : 1, got = memcmp(a, b + end, length);
                expect(right < 0 ? got < 0 : got > 0, "memcmp", length, at);
                expect(bcmp(b + end, a, length) != 0, "bcmp", length, at);
                if (at + 1 < length)
                    b[end + at + 1] = a[at + 1];
            }
            b[end + at] = a[at];
        }

        memset(a, 'x', page);
        a[page - 1] = 0;
        if (length > 0)
            expect(strlen((char *)a + end) == length - 1, "strlen", length, 0);
    }
    static unsigned char large[3 << 20];
    unsigned char *half = large + (sizeof large >> 1);
    memset(large, 0x5a, sizeof large >> 1);
    memcpy(half, large, sizeof large >> 1);
    for (size_t i = 0; i < sizeof large; i++)
        expect(large[i] == 0x5a, "large", sizeof large, i);
    puts("all right");
    return 0;
}
