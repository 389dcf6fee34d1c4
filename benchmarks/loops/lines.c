/* lines <TEXT: print the words of each line, separated by tabs. */
#include "loop.h"

int main(void)
{
	char *line;

	while ((line = next_line())) {
		const char *before = "";

		for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
			printf("%s%s", before, word);
			before = "\t";
		}
		putchar('\n');
	}
	return 0;
}
