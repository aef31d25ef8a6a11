/* Thread variables in a loaded object: a thread's first use of them allocates. */
__thread long counters[2000];

long *plugin_counter(void);
long *plugin_counter(void)
{
    return &counters[1234];
}
