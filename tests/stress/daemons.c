/* daemons TABLE_FD RATE: a server that starts RATE children a second, each of which daemonizes.
 *
 * A child forks the daemon and ends, dawdling before or after the fork: from then on nothing says whose
 * child the daemon was. Every second one is in a session of its own. While HOLD is set no child ends;
 * while QUIET is set none is started.
 *
 * The table has a slot for each living process. A child writes the daemon's id and the moment at which
 * the child will end into its slot before it ends. The daemon frees the slot as its last act. So a slot
 * that is equal before and after the test read its process was about that process all the time.
 */
#include "load.h"

enum { FREE, TAKEN, CHILD, DAEMON };
enum { CROWD = 50, DAWDLE_MS = 20, SHORTEST_MS = 30, LONGEST_MS = 1500 };

struct slot {
    word state, serial, pid, left;
};

static uint64_t rate;

static struct slot *free_slot(void)
{
    struct slot *first = (struct slot *)(table + HEADER);
    struct slot *end = first + (table_words - HEADER) / (sizeof *first / sizeof(word));

    for (struct slot *slot = first; slot < end; slot++)
        if (slot->state == FREE)
            return slot;
    return NULL;
}

static void wait_while_held(void)
{
    while (table[HOLD] && !stopping())
        nap(10);
}

static void dawdle(struct slot *slot)
{
    nap(slot->serial * 31 % DAWDLE_MS);
    wait_while_held();
}

/* A process that leaves after HOLD was set waits, so that `left` is certainly later than HOLD. */
static void take_leave(struct slot *slot)
{
    do {
        wait_while_held();
        slot->left = now();
    } while (table[HOLD] && !stopping());
}

static void live_as_daemon(struct slot *slot)
{
    uint64_t life = SHORTEST_MS + slot->serial * 7919 % (LONGEST_MS - SHORTEST_MS);
    uint64_t end = now() + life * 1000000;

    while ((slot->state != DAEMON || now() < end) && !stopping())
        nap(100);
    slot->state = FREE;
    _exit(0);
}

static void live_as_child(struct slot *slot)
{
    int early = slot->serial & 2;
    pid_t pid;

    slot->pid = getpid();
    slot->state = CHILD;
    if (!early)
        dawdle(slot);
    if (slot->serial & 1)
        setsid();
    pid = fork();
    if (pid == 0)
        live_as_daemon(slot);
    if (early)
        dawdle(slot);
    take_leave(slot);
    slot->pid = pid;
    slot->state = pid > 0 ? DAEMON : FREE;
    _exit(0);
}

static void start_one(void)
{
    struct slot *slot = free_slot();
    pid_t pid;

    if (!slot)
        return;
    slot->serial = ++table[STARTED];
    slot->state = TAKEN;
    pid = fork();
    if (pid == 0)
        live_as_child(slot);
    if (pid < 0)
        slot->state = FREE;
}

/* A waiting process wakes up every few milliseconds: no more of them than a small machine can bear. */
static int crowded(void)
{
    struct slot *first = (struct slot *)(table + HEADER);
    struct slot *end = first + (table_words - HEADER) / (sizeof *first / sizeof(word));
    int waiting = 0;

    for (struct slot *slot = first; table[HOLD] && slot < end; slot++)
        waiting += slot->state == TAKEN || slot->state == CHILD;
    return waiting >= CROWD;
}

static void serve(void)
{
    uint64_t next = now();

    while (!stopping()) {
        if (!table[QUIET] && !crowded())
            start_one();
        next += 1000000000 / rate;
        if (next < now())
            next = now();
        sleep_until(next);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    map_table(argv[1]);
    rate = strtoull(argv[2], NULL, 10);
    return launch(serve);
}
