/* A lineage: a process that forks its successor and ends, for ever. One slot of the table each.
 *
 * While HOLD is set no process forks and none ends.
 */
#include "load.h"

/* An even turn: process `pid` is there, and neither forks nor ends before the turn is another one. */
struct lineage {
    word turn, pid, last, gap;
};

static struct lineage *lineages;
static uint64_t width;

static void settle(struct lineage *mine)
{
    mine->pid = getpid();
    mine->turn++;
}

/* Returns in the successor. */
static void succeed(struct lineage *mine)
{
    while (table[HOLD] && !stopping())
        nap(20);
    mine->turn++;
    while (!stopping()) {
        pid_t pid = fork();

        if (pid == 0) {
            settle(mine);
            return;
        }
        if (pid > 0)
            break;
        nap(1);
    }
    _exit(0);
}

/* Forks the first of each lineage; their parent ends then. */
static void begin(void (*live)(struct lineage *mine))
{
    lineages = (struct lineage *)(table + HEADER);
    for (uint64_t i = 0; i < width; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            lineages[i].turn = 1;
            settle(&lineages[i]);
            while (!stopping())
                live(&lineages[i]);
            _exit(0);
        }
    }
}
