/* beat TABLE_FD WIDTH TURN_MS TURNS: lineages that note the longest time between two of their turns.
 *
 * A turn is a nap of TURN_MS; after TURNS of them a process forks its successor, which goes on counting.
 */
#include "lineage.h"

static uint64_t turn, turns;

static void beat(struct lineage *mine)
{
    uint64_t moment = now();

    if (mine->last && moment - mine->last > mine->gap)
        mine->gap = moment - mine->last;
    mine->last = moment;
}

static void live(struct lineage *mine)
{
    for (uint64_t i = 0; i < turns && !stopping(); i++) {
        nap(turn);
        beat(mine);
    }
    succeed(mine);
}

/* The first turns are spread, or all would beat at once. */
static void first(struct lineage *mine)
{
    nap((mine - lineages) * turn * turns / width);
    while (!stopping())
        live(mine);
}

static void beats(void)
{
    begin(first);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    map_table(argv[1]);
    width = strtoull(argv[2], NULL, 10);
    turn = strtoull(argv[3], NULL, 10);
    turns = strtoull(argv[4], NULL, 10);
    return launch(beats);
}
