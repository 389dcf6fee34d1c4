/* storm TABLE_FD WIDTH LIFE_MS THREADS: so many lineages, each process of which lives for LIFE_MS and
 * has so many threads. */
#include <pthread.h>

#include "lineage.h"

static uint64_t life, threads;

static void *stay(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

/* The other threads end with their process. */
static void begin_threads(void)
{
    pthread_attr_t small;
    pthread_t thread;

    if (threads < 2)
        return;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (uint64_t i = 1; i < threads; i++)
        pthread_create(&thread, &small, stay, NULL);
}

static void live(struct lineage *mine)
{
    begin_threads();
    nap(life);
    succeed(mine);
}

static void storm(void)
{
    begin(live);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    map_table(argv[1]);
    width = strtoull(argv[2], NULL, 10);
    life = strtoull(argv[3], NULL, 10);
    threads = strtoull(argv[4], NULL, 10);
    return launch(storm);
}
