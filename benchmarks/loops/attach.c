/* attach FILE... <IDS: write each id to the files cgroup.procs or tasks. */
#include "loop.h"

int main(int argc, char **argv)
{
	char *id;

	while ((id = next_line()))
		for (int one = 1; one < argc; one++)
			write_file(argv[one], id);
	return 0;
}
