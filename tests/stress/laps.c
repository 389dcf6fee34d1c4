/* laps TABLE_FD WIDTH FILES FOLDER: what it costs to open a file and close it again.
 *
 * In each round, which begins when the test counts on in HOLD, every process opens and closes a file of
 * its own in FOLDER FILES times. A slot holds the rounds that it has done, its pid, and how many
 * nanoseconds of the CPU the last one took it.
 */
#include "in_step.h"

static uint64_t used(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void run(struct worker *mine, const char *name)
{
    for (uint64_t round = 1; !stopping(); round++) {
        uint64_t before;

        wait_for(round);
        before = used();
        for (uint64_t i = 0; i < files; i++) {
            int fd = open(name, O_RDWR | O_CREAT, 0600);

            if (fd < 0)
                die(name);
            close(fd);
        }
        mine->found = used() - before;
        mine->turns = round;
    }
}

int main(int argc, char **argv)
{
    return launch_in_step(argc, argv, run);
}
