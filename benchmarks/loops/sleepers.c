/* sleepers PROCESSES THREADS: processes that sleep until standard input ends; the first of them has
 * so many threads. It prints the ids of all processes on one line. If it ends, all of them end.
 */
#include "loop.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void *sleep_in_a_thread(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void start_threads(int number)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 1 << 16);
	while (number-- > 0)
		if ((errno = pthread_create(&thread, &small, sleep_in_a_thread, NULL)))
			fail("pthread_create");
}

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 1, threads = argc > 2 ? atoi(argv[2]) : 1;
	pid_t *children = calloc(processes, sizeof(*children)), parent = getpid();
	char byte;

	printf("%d", parent);
	fflush(stdout);
	for (int one = 1; one < processes; one++) {
		children[one] = fork();
		if (children[one] < 0)
			fail("fork");
		if (!children[one]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (getppid() == parent)
				pause();
			_exit(0);
		}
		printf(" %d", children[one]);
		fflush(stdout);
	}
	start_threads(threads - 1);
	printf("\n");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (int one = 1; one < processes; one++)
		kill(children[one], SIGKILL);
	for (int one = 1; one < processes; one++)
		waitpid(children[one], NULL, 0);
	return 0;
}
