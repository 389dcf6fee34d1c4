/* spin NUMBER: so many steps of a random number generator. It makes no system call. */
#include "loop.h"
#include <stdint.h>

int main(int argc, char **argv)
{
	long number = argc > 1 ? atol(argv[1]) : 0;
	volatile uint64_t result;
	uint64_t state = 1;

	while (number--)
		state = state * 6364136223846793005u + 1442695040888963407u;
	result = state;
	return result == 0;
}
