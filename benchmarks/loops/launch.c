/* launch FD COMMAND...: run a command, and write what it has used to the file descriptor FD.
 *
 * One line: microseconds of CPU time (user and system), nanoseconds from the fork to the end, the
 * largest resident set in KiB, and the exit status. All of them include the children of the command
 * that it has waited for. A command begins with the resident set of the process that started it:
 * this program is small, and Python is not.
 */
#include "loop.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static long long nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long microseconds(struct timeval time)
{
	return time.tv_sec * 1000000LL + time.tv_usec;
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long begun;
	int status, report;
	pid_t child;

	if (argc < 3)
		return 2;
	report = atoi(argv[1]);
	fcntl(report, F_SETFD, FD_CLOEXEC);
	begun = nanoseconds();
	child = fork();
	if (child < 0)
		fail("fork");
	if (!child) {
		execvp(argv[2], argv + 2);
		fail("%s", argv[2]);
	}
	signal(SIGINT, SIG_IGN); /* the command ends by it, and this program with the command */
	signal(SIGTERM, SIG_IGN);
	while (wait4(child, &status, 0, &used) < 0)
		if (errno != EINTR)
			fail("wait4");
	dprintf(report, "%lld %lld %ld %d\n",
		microseconds(used.ru_utime) + microseconds(used.ru_stime),
		nanoseconds() - begun, used.ru_maxrss,
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}
