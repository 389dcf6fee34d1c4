/* files TABLE_FD WIDTH FILES FOLDER: processes that open and close files, all in step.
 *
 * In each round, which begins when the test counts on in HOLD, every process opens FILES files in FOLDER
 * and says how many it has, and how many were refused; when the test counts on once more, it closes them.
 * A slot holds what the process has done of the rounds (twice their number), its pid, the files that it
 * has opened in all, and those that were refused with ENFILE.
 */
#include "load.h"

#include <fcntl.h>

struct opener {
    word turns, pid, opened, refused;
};

static uint64_t width, files;
static const char *folder;

static void wait_for(uint64_t turn)
{
    while (table[HOLD] < turn && !stopping())
        sleep_until(now() + 100000);
}

static void open_and_close(struct opener *mine)
{
    char name[4096];
    int *open_now = calloc(files, sizeof(*open_now));

    snprintf(name, sizeof(name), "%s/%d", folder, (int)getpid());
    mine->pid = getpid();
    for (uint64_t turn = 1; !stopping(); turn += 2) {
        wait_for(turn);
        for (uint64_t i = 0; i < files; i++) {
            open_now[i] = open(name, O_RDWR | O_CREAT, 0600);
            if (open_now[i] >= 0)
                mine->opened++;
            else if (errno == ENFILE)
                mine->refused++;
            else
                die(name);
        }
        mine->turns = turn;
        wait_for(turn + 1);
        for (uint64_t i = 0; i < files; i++)
            if (open_now[i] >= 0)
                close(open_now[i]);
        mine->turns = turn + 1;
    }
    unlink(name);
}

static void openers(void)
{
    struct opener *all = (struct opener *)(table + HEADER);

    for (uint64_t i = 0; i < width; i++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid == 0) {
            open_and_close(all + i);
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
    return launch(openers);
}
