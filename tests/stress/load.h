/* What all loads share: the table that a test looks into, how a load begins, and how it ends.
 *
 * A load is started as PROGRAM TABLE_FD WORDS… The table is memory that it shares with the test, all of
 * it 64-bit words. The launcher forks the root of the load, which waits for GO, so that the test can
 * put it into a container first. The launcher itself stays where it is: it inherits the orphans, and
 * ends after all others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t word;

/* Changed together with tests/stress/__init__.py. */
enum { STOP, GO, DEADLINE, ROOT, STARTED, HOLD, QUIET, REFUSED, HEADER };

static word *table;
static size_t table_words;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void map_table(const char *descriptor)
{
    int fd = atoi(descriptor);
    struct stat file;

    if (fstat(fd, &file))
        die("fstat");
    table_words = file.st_size / sizeof(word);
    table = mmap(NULL, file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED)
        die("mmap");
}

/* Nanoseconds of the clock that Python calls time.monotonic_ns(). */
static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void sleep_until(uint64_t moment)
{
    struct timespec time = {moment / 1000000000, moment % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        ;
}

static void nap(uint64_t milliseconds)
{
    sleep_until(now() + milliseconds * 1000000);
}

/* Every process of a load asks this in every turn of its loop. */
static int stopping(void)
{
    return table[STOP] || now() > table[DEADLINE];
}

static void wait_for_go(void)
{
    while (!table[GO]) {
        if (stopping())
            _exit(0);
        nap(1);
    }
}

/* The standard input ends when the process that started the load has ended. */
static void wait_for_the_end(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};

    while (!stopping())
        if (poll(&input, 1, 20) > 0)
            table[STOP] = 1;
    while (wait(NULL) > 0 || errno == EINTR)
        ;
}

static int launch(void (*root)(void))
{
    pid_t pid;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGCHLD, SIG_IGN); /* all children vanish when they end, and wait() waits for the last */
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        wait_for_go();
        root();
        _exit(0);
    }
    table[ROOT] = pid;
    puts("ready");
    fflush(stdout);
    wait_for_the_end();
    return table[REFUSED];
}
