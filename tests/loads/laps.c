/* laps TABLE_FD WIDTH FILES FOLDER: what it costs to open a file and close it again.
 *
 * In each round, which begins when the test counts on in HOLD, every process opens and closes a file of
 * its own in FOLDER FILES times. A slot holds the rounds that it has done, its pid, and how many
 * nanoseconds of the CPU the last one took it.
 */
#include "load.h"

#include <fcntl.h>

struct runner {
    word rounds, pid, nanoseconds, unused;
};

static uint64_t width, files;
static const char *folder;

static uint64_t used(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void run(struct runner *mine)
{
    char name[4096];
    uint64_t before;

    snprintf(name, sizeof(name), "%s/%d", folder, (int)getpid());
    mine->pid = getpid();
    for (uint64_t round = 1; !stopping(); round++) {
        while (table[HOLD] < round && !stopping())
            nap(1);
        before = used();
        for (uint64_t i = 0; i < files; i++) {
            int fd = open(name, O_RDWR | O_CREAT, 0600);

            if (fd < 0)
                die(name);
            close(fd);
        }
        mine->nanoseconds = used() - before;
        mine->rounds = round;
    }
    unlink(name);
}

static void runners(void)
{
    struct runner *all = (struct runner *)(table + HEADER);

    for (uint64_t i = 0; i < width; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            run(all + i);
            _exit(0);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    map_table(argv[1]);
    width = strtoull(argv[2], NULL, 10);
    files = strtoull(argv[3], NULL, 10);
    folder = argv[4];
    return launch(runners);
}
