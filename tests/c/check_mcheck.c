/* glibc's own interface, for whoever implements it: statuses of live, freed and damaged blocks. The first line says
 * whether it is implemented. */
#include <mcheck.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static char told[16];

static void tell(enum mcheck_status status)
{
    told[strlen(told)] = "?OFHT"[status + 1];
}

static const char *show(const char *what, int status)
{
    static char line[100];
    snprintf(line, sizeof line, "%s: %d, told %s", what, status, told);
    memset(told, 0, sizeof told);
    return line;
}

static void statuses(void)
{
    unsigned char *block = do_malloc(24);
    puts(show("not started", mprobe(block)));
    int first = mcheck(tell), again = mcheck(tell);
    printf("mcheck %d, again %d, pedantic by now %d\n", first, again, mcheck_pedantic(tell));
    block = do_malloc(100);
    puts(show("sound", mprobe(block)));
    do_free(block);
    puts(show("freed", mprobe(block)));
    unsigned char *other = do_malloc(200);
    puts(show("inside", mprobe(other + 16)));
    puts(show("no block", mprobe(told)));
    do_free(block);
    puts(show("freed twice", 0));
    do_free(&block);
    puts(show("no block, freed", 0));
}

int main(int argc, char **argv)
{
    static char room[4096];
    setvbuf(stdout, room, _IOFBF, sizeof room);
    if (argc > 1 && strcmp(argv[1], "statuses") == 0) {
        statuses();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        int first = mcheck(tell);
        mcheck(NULL);
        unsigned char *block = do_malloc(24);
        block[24] ^= 1;
        printf("%d, told %s\n", first, told);
        fflush(stdout);
        do_free(block);
        return 1;
    }
    int pedantic = argc > 1 && strcmp(argv[1], "pedantic") == 0;
    int started = pedantic ? mcheck_pedantic(tell) : mcheck(tell);
    printf("%s %d\n", pedantic ? "mcheck_pedantic" : "mcheck", started);
    if (started != 0)
        return 0;
    unsigned char *one = do_malloc(24), *two = do_malloc(100);
    printf("new blocks hold %02x\n", one[0]);
    puts(show("sound", mprobe(one)));
    one[24] ^= 1;
    puts(show("tail", mprobe(one)));
    mcheck_check_all();
    puts(show("tail, all", 0));
    one[24] ^= 1;
    two[-1] ^= 1;
    puts(show("head", mprobe(two)));
    mcheck_check_all();
    puts(show("head, all", 0));
    do_free(one);
    puts(show("sound, freed", 0));
    two[-1] ^= 1;
    two[100] ^= 1;
    do_free(two);
    puts(show("tail, freed", 0));
    puts(show("NULL", mprobe(NULL)));
    return 0;
}
