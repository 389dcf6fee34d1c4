/* storm TABLE_FD WIDTH LIFE_MS: so many lineages, each process of which lives for LIFE_MS. */
#include "lineage.h"

static uint64_t life;

static void live(struct lineage *mine)
{
    nap(life);
    succeed(mine);
}

static void storm(void)
{
    begin(live);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    map_table(argv[1]);
    width = strtoull(argv[2], NULL, 10);
    life = strtoull(argv[3], NULL, 10);
    return launch(storm);
}
