/* fork NUMBER FILE...: enter the containers of the files cgroup.procs, then fork, exit and wait so
 * many times.
 */
#include "loop.h"
#include <sys/wait.h>

int main(int argc, char **argv)
{
	int number = argc > 1 ? atoi(argv[1]) : 0;

	for (int one = 2; one < argc; one++)
		write_file(argv[one], "0");
	while (number--) {
		pid_t child = fork();

		if (child < 0)
			fail("fork");
		if (!child)
			_exit(0);
		if (waitpid(child, NULL, 0) < 0)
			fail("waitpid");
	}
	return 0;
}
