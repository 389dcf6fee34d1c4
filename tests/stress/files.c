/* files TABLE_FD WIDTH FILES FOLDER: processes that open and close files, all in step.
 *
 * In each round, which begins when the test counts on in HOLD, every process opens FILES files in FOLDER
 * and says how many it has, and how many were refused; when the test counts on once more, it closes them.
 * A slot holds what the process has done of the rounds (twice their number), its pid, the files that it
 * has opened in all, and those that were refused with ENFILE.
 */
#include "in_step.h"

static void open_and_close(struct worker *mine, const char *name)
{
    int *open_now = calloc(files, sizeof(*open_now));

    for (uint64_t turn = 1; !stopping(); turn += 2) {
        wait_for(turn);
        for (uint64_t i = 0; i < files; i++) {
            open_now[i] = open(name, O_RDWR | O_CREAT, 0600);
            if (open_now[i] >= 0)
                mine->found++;
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
}

int main(int argc, char **argv)
{
    return launch_in_step(argc, argv, open_and_close);
}
