/* bomb TABLE_FD DIRECTORY: a fork bomb: every process forks as fast as it can, whatever fork says.
 *
 * Only inside DIRECTORY, a container of pids with a limit: anywhere else it refuses to begin.
 */
#include "load.h"

enum { MOST = 5000 };

static const char *container;

static FILE *file(const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", container, name);
    return fopen(path, "r");
}

static int limited(void)
{
    FILE *limit = file("pids.max");
    long most = -1;

    return limit && fscanf(limit, "%ld", &most) == 1 && most > 0 && most <= MOST;
}

static int inside(void)
{
    FILE *tasks = file("cgroup.procs");
    int task;

    while (tasks && fscanf(tasks, "%d", &task) == 1)
        if (task == getpid())
            return 1;
    return 0;
}

static void bomb(void)
{
    if (!limited() || !inside()) {
        fprintf(stderr, "bomb: not in %s, or that has no small pids.max\n", container);
        table[REFUSED] = 1;
        table[STOP] = 1;
        return;
    }
    while (!stopping())
        if (fork() == 0)
            table[STARTED]++;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    map_table(argv[1]);
    container = argv[2];
    return launch(bomb);
}
