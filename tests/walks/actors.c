/*
 * Tasks that do what they are told: fork, start a thread, end, wait for a child.
 *
 * The arguments are descriptors: the one for answers, and one of orders for each slot. A task has a
 * slot, and reads its orders there, two ints each: what, and about whom. What came of it is one int:
 * an id, or an errno below zero; who ends says nothing more. One task at a time is given an order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 16384, SLOTS = 256 };

static int answers, orders[SLOTS];

static int serve(void *slot);

static void answer(int number)
{
	if (write(answers, &number, sizeof(number)) != sizeof(number))
		_exit(1);
}

/* As clone(2) itself: the C library would want every thread for itself. */
static int child(long slot)
{
	long id = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (id == 0)
		_exit(serve((void *)slot));
	return id < 0 ? -errno : id;
}

static int thread(long slot)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	char *stack = malloc(STACK);
	int id = stack ? clone(serve, stack + STACK, flags, (void *)slot) : -1;

	return id < 0 ? -errno : id;
}

static int await(int pid)
{
	int ended = waitpid(pid, NULL, WNOHANG);

	return ended > 0 ? 0 : ended == 0 ? -ECHILD : -errno;
}

static int serve(void *slot)
{
	int order[2];

	while (read(orders[(long)slot], order, sizeof(order)) == sizeof(order)) {
		switch (order[0]) {
		case 'f':
			answer(child(order[1]));
			break;
		case 't':
			answer(thread(order[1]));
			break;
		case 'w':
			answer(await(order[1]));
			break;
		case 'e': /* this task alone */
			syscall(SYS_exit, 0);
			break;
		case 'g': /* the whole process */
			syscall(SYS_exit_group, 0);
			break;
		}
	}
	syscall(SYS_exit_group, 0);
	return 0;
}

int main(int count, char **words)
{
	answers = atoi(words[1]);
	for (int slot = 0; slot < count - 2 && slot < SLOTS; slot++)
		orders[slot] = atoi(words[slot + 2]);
	return serve((void *)0);
}
