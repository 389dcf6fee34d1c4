/* walk DIRECTORY: print each container below it, with its number of tasks and its pids.max.
 *
 * A directory with two links has no directories in it.
 */
#include "loop.h"
#include <dirent.h>

static void walk(const char *name)
{
	static char text[1 << 16];
	char path[4096];
	struct dirent *entry;
	struct stat facts;
	int tasks = 0;
	DIR *listing;

	snprintf(path, sizeof(path), "%s/tasks", name);
	read_file(path, text, sizeof(text));
	for (char *one = text; *one; one++)
		tasks += *one == '\n';
	snprintf(path, sizeof(path), "%s/pids.max", name);
	read_file(path, text, sizeof(text));
	printf("%s %d %s", name, tasks, text);
	if (stat(name, &facts))
		fail("%s", name);
	if (facts.st_nlink <= 2)
		return;
	listing = opendir(name);
	if (!listing)
		fail("%s", name);
	while ((entry = readdir(listing)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
			walk(path);
		}
	closedir(listing);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	walk(argv[1]);
	return 0;
}
