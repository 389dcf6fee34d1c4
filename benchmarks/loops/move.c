/* move SOURCE TARGET: write each id in the file SOURCE to the file TARGET. */
#include "loop.h"

int main(int argc, char **argv)
{
	static char ids[1 << 20];
	int target;

	if (argc < 3)
		return 2;
	read_file(argv[1], ids, sizeof(ids));
	target = open(argv[2], O_WRONLY);
	if (target < 0)
		fail("%s", argv[2]);
	for (char *id = strtok(ids, "\n"); id; id = strtok(NULL, "\n"))
		if (write(target, id, strlen(id)) < 0)
			fail("%s: %s", argv[2], id);
	return 0;
}
