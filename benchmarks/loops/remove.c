/* remove <NAMES: remove each directory. */
#include "loop.h"

int main(void)
{
	char *name;

	while ((name = next_line()))
		if (rmdir(name))
			fail("%s", name);
	return 0;
}
