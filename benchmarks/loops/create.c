/* create FILE=TEXT... <NAMES: make each directory, and write the texts to its files. */
#include "loop.h"

int main(int argc, char **argv)
{
	char path[4096], *name;

	while ((name = next_line())) {
		if (mkdir(name, 0777))
			fail("%s", name);
		for (int one = 1; one < argc; one++) {
			char *text = strchr(argv[one], '=');

			snprintf(path, sizeof(path), "%s/%.*s", name, (int)(text - argv[one]), argv[one]);
			write_file(path, text + 1);
		}
	}
	return 0;
}
