/* Processes that open FILES files each in FOLDER, all in step: PROGRAM TABLE_FD WIDTH FILES FOLDER.
 *
 * A turn begins when the test counts on in HOLD. One slot of the table each; what the last two of its
 * words hold is up to the program.
 */
#include "load.h"

#include <fcntl.h>

struct worker {
    word turns, pid, found, refused;
};

static uint64_t width, files;
static const char *folder;
static void (*job)(struct worker *mine, const char *name);

static void wait_for(uint64_t turn)
{
    while (table[HOLD] < turn && !stopping())
        sleep_until(now() + 100000);
}

static void workers(void)
{
    struct worker *all = (struct worker *)(table + HEADER);

    for (uint64_t i = 0; i < width; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            char name[4096];

            snprintf(name, sizeof(name), "%s/%d", folder, (int)getpid());
            all[i].pid = getpid();
            job(all + i, name);
            unlink(name);
            _exit(0);
        }
    }
}

static int launch_in_step(int argc, char **argv, void (*each)(struct worker *, const char *))
{
    if (argc != 5)
        return 2;
    map_table(argv[1]);
    width = strtoull(argv[2], NULL, 10);
    files = strtoull(argv[3], NULL, 10);
    folder = argv[4];
    job = each;
    return launch(workers);
}
