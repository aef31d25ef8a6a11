/* An object with a variable of each thread's, as the library is one: see tools_agree. */
static __thread int variable;

int *valgrind_object(void)
{
    return &variable;
}
