/*
 * The far end of a walk: a process, in this machine or in a guest, that makes system calls for the
 * walk, and tasks that carry out its orders.
 *
 * Descriptor 0 is the line to the walk (far.py). A request is a head and two strings, its answer a
 * head and bytes: what the call returned, or an errno below zero. Requests that are sent together
 * are answered together.
 *
 * A task that takes orders has a slot, and reads them there. An order is two ints: what to do, and
 * the slot or process that it is about. The answer is one int: an id, or an errno below zero. A task
 * that is ordered to end sends no answer. Only one task at a time has an order.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { STACK = 16384, SLOTS = 64, LINE = 0, LONGEST = 1 << 20, PATIENCE = 60000, KEPT = 2048 };

struct request {
	int32_t verb, first, second;
	int64_t one, two;
} __attribute__((packed));

struct answer {
	int64_t result;
	int32_t length;
} __attribute__((packed));

static char path[LONGEST + 1], more[LONGEST + 1], found[LONGEST];

/* What has come and was not looked at yet, and what is to be sent off. */
static char coming[1 << 16], waiting[2 * LONGEST];
static size_t looked_at, come, in_waiting;

/* The tasks that take orders */

static int answers[2], orders[SLOTS][2];

static int serve(void *slot);

static void tell_back(int number)
{
	if (write(answers[1], &number, sizeof(number)) != sizeof(number))
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

	while (read(orders[(long)slot][0], order, sizeof(order)) == sizeof(order)) {
		switch (order[0]) {
		case 'f':
			tell_back(child(order[1]));
			break;
		case 't':
			tell_back(thread(order[1]));
			break;
		case 'w':
			tell_back(await(order[1]));
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

static int renewed(int *ends)
{
	if (ends[0]) {
		close(ends[0]);
		close(ends[1]);
	}
	return pipe(ends);
}

/* The first of them, from which all others descend. */
static int first(void)
{
	int failed = renewed(answers);

	for (int slot = 0; slot < SLOTS; slot++)
		failed |= renewed(orders[slot]);
	int pid = failed ? -1 : fork();
	if (pid == 0) {
		/* Without this process there are no orders, and they end. */
		prctl(PR_SET_NAME, "simulated"); /* as the model calls its tasks */
		close(LINE);
		close(answers[0]);
		for (int slot = 0; slot < SLOTS; slot++)
			close(orders[slot][1]);
		_exit(serve((void *)0));
	}
	return pid;
}

static int tell(int slot, int what, int about)
{
	int order[2] = { what, about };

	return write(orders[slot][1], order, sizeof(order));
}

static int heard(void)
{
	struct pollfd one = { .fd = answers[0], .events = POLLIN };
	int number;

	if (poll(&one, 1, PATIENCE) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (read(answers[0], &number, sizeof(number)) != sizeof(number))
		return -1;
	if (number < 0) {
		errno = -number;
		return -1;
	}
	return number;
}

/* What the walk asks for */

/* Files that are read again and again stay open, until something may go that they belong to. */
static struct {
	char *path;
	int descriptor;
} kept[KEPT];

/* Not those of tasks, which an id that is given again would not find, and not lists of tasks, which
 * are made anew only when they are opened. */
static int may_be_kept(const char *file)
{
	const char *name = strrchr(file, '/');

	return name && strncmp(file, "/proc/", 6) && strcmp(name, "/tasks") &&
	       strcmp(name, "/cgroup.procs") && strcmp(name, "/cgroup.threads");
}

static unsigned slot_of(const char *file)
{
	unsigned at = 0;

	for (const char *byte = file; *byte; byte++)
		at = at * 31 + (unsigned char)*byte;
	return at % KEPT;
}

static void forget(unsigned at)
{
	if (!kept[at].path)
		return;
	close(kept[at].descriptor);
	free(kept[at].path);
	kept[at].path = NULL;
}

static int kept_open(const char *file)
{
	unsigned at = slot_of(file);

	if (kept[at].path && !strcmp(kept[at].path, file))
		return kept[at].descriptor;

	int descriptor = open(file, O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		return -1;
	forget(at);
	kept[at].path = strdup(file);
	kept[at].descriptor = descriptor;
	return descriptor;
}

/* A file that a controller had is removed with it, and there may be a new one of its name. */
static int kept_content(const char *file)
{
	int descriptor = kept_open(file);
	int got = descriptor < 0 ? -1 : pread(descriptor, found, LONGEST, 0);

	if (got >= 0 || errno != ENODEV)
		return got;
	forget(slot_of(file));
	descriptor = kept_open(file);
	return descriptor < 0 ? -1 : pread(descriptor, found, LONGEST, 0);
}

static void let_go(void)
{
	for (int at = 0; at < KEPT; at++)
		forget(at);
}

static int content(const char *file)
{
	if (may_be_kept(file))
		return kept_content(file);

	int descriptor = open(file, O_RDONLY | O_CLOEXEC), length = 0, got = -1;

	if (descriptor < 0)
		return -1;
	while (length < LONGEST && (got = read(descriptor, found + length, LONGEST - length)) > 0)
		length += got;
	int failed = errno;
	close(descriptor);
	errno = failed;
	return got < 0 ? -1 : length;
}

/* A line for each: whether it is a directory, its mode if `modes`, its name; then a NUL. */
static int entries(const char *directory, int modes)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;
	struct stat facts = { 0 };
	int length = 0;

	if (!stream)
		return -1;
	while (length < LONGEST - 512 && (entry = readdir(stream))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (modes && fstatat(dirfd(stream), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW))
			continue;
		length += sprintf(found + length, "%d %o %s", entry->d_type == DT_DIR,
				  facts.st_mode, entry->d_name) + 1;
	}
	closedir(stream);
	return length;
}

static int facts(const char *file, int flags)
{
	struct stat facts;

	if (fstatat(AT_FDCWD, file, &facts, flags))
		return -1;
	return sprintf(found, "%u %lu %lu %u %u", facts.st_mode, (unsigned long)facts.st_nlink,
		       (unsigned long)facts.st_dev, facts.st_uid, facts.st_gid);
}

static char *after(char *word)
{
	return word + strlen(word) + 1;
}

static long done(const struct request *wanted, int *length)
{
	long one = wanted->one, two = wanted->two;

	if (strchr("rUF", wanted->verb))
		let_go();
	switch (wanted->verb) {
	case 'm':
		return mkdir(path, one);
	case 'r':
		return rmdir(path);
	case 'o':
		return open(path, one, 0600);
	case 'w':
		return write(one, more, wanted->second);
	case 'c':
		return close(one);
	case 'R':
		return *length = content(path);
	case 'l':
		return *length = entries(path, one);
	case 's':
		return *length = facts(path, one);
	case 'b':
		return *length = read(one, found, two);
	case 'L':
		return *length = readlink(path, found, LONGEST);
	case 'y':
		return faccessat(AT_FDCWD, path, one, AT_EACCESS);
	case 'x':
		return *length = listxattr(path, found, LONGEST);
	case 'g':
		return *length = getxattr(path, more, found, LONGEST);
	case 'S':
		return setxattr(path, more, after(more), wanted->second - (after(more) - more), 0);
	case 'D':
		return removexattr(path, more);
	case 'M': /* source, type, options */
		return mount(more, path, after(more), one, after(after(more)));
	case 'U':
		return umount2(path, one);
	case 'a':
		return *length = syscall(SYS_sched_getaffinity, one, LONGEST, found);
	case 'A':
		return syscall(SYS_sched_setaffinity, one, wanted->second, more);
	case 'p':
		return syscall(SYS_pidfd_open, one, 0);
	case 'P':
		return syscall(SYS_pidfd_send_signal, one, two, NULL, 0);
	case 'k':
		return kill(one, two);
	case 'W':
		return waitpid(one, NULL, WNOHANG);
	case 'F':
		return first();
	case 'T': /* an order for the task of a slot */
		return tell(one, path[0], two);
	case 'H':
		return heard();
	}
	errno = ENOSYS;
	return -1;
}

static void all_of(void *bytes, size_t length)
{
	for (size_t part; length; bytes = (char *)bytes + part, length -= part) {
		if (looked_at == come) {
			ssize_t got = read(LINE, coming, sizeof(coming));

			if (got <= 0)
				exit(0); /* the walk is over */
			looked_at = 0;
			come = got;
		}
		part = length < come - looked_at ? length : come - looked_at;
		memcpy(bytes, coming + looked_at, part);
		looked_at += part;
	}
}

static void send_off(void)
{
	ssize_t sent;

	for (size_t at = 0; at < in_waiting; at += sent)
		if ((sent = write(LINE, waiting + at, in_waiting - at)) <= 0)
			exit(1);
	in_waiting = 0;
}

static void reply(long result, int length)
{
	struct answer head = { result < 0 ? -errno : result, length > 0 ? length : 0 };

	if (in_waiting + sizeof(head) + head.length > sizeof(waiting))
		send_off();
	memcpy(waiting + in_waiting, &head, sizeof(head));
	memcpy(waiting + in_waiting + sizeof(head), found, head.length);
	in_waiting += sizeof(head) + head.length;
}

int main(void)
{
	struct request wanted;
	int32_t together;

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 2 * KEPT, 2 * KEPT });
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	reply(getpid(), 0);
	send_off();
	for (;;) {
		for (all_of(&together, sizeof(together)); together; together--) {
			int length = 0;

			all_of(&wanted, sizeof(wanted));
			if (wanted.first > LONGEST || wanted.second > LONGEST)
				return 1;
			all_of(path, wanted.first);
			all_of(more, wanted.second);
			path[wanted.first] = more[wanted.second] = 0;
			long result = done(&wanted, &length);
			reply(result, length);
		}
		send_off();
	}
}
