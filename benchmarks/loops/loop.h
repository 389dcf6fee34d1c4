/* What the bare loops share: the lines of standard input, and one write to a file. */
#ifndef LOOP_H
#define LOOP_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((unused, noreturn, format(printf, 1, 2)))
static void fail(const char *format, ...)
{
	int number = errno;
	va_list words;

	va_start(words, format);
	vfprintf(stderr, format, words);
	va_end(words);
	fprintf(stderr, ": %s\n", strerror(number));
	exit(1);
}

/* The next line of standard input without its end, or NULL. */
__attribute__((unused))
static char *next_line(void)
{
	static char *line;
	static size_t room;
	ssize_t length = getline(&line, &room, stdin);

	if (length < 0)
		return NULL;
	if (length && line[length - 1] == '\n')
		line[length - 1] = 0;
	return line;
}

__attribute__((unused))
static void write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		fail("%s", path);
	close(file);
}

/* Read at most room - 1 bytes of a file into a buffer; their number. */
__attribute__((unused))
static size_t read_file(const char *path, char *buffer, size_t room)
{
	size_t found = 0;
	ssize_t more;
	int file = open(path, O_RDONLY);

	if (file < 0)
		fail("%s", path);
	while ((more = read(file, buffer + found, room - 1 - found)) > 0)
		found += more;
	if (more < 0)
		fail("%s", path);
	close(file);
	buffer[found] = 0;
	return found;
}

#endif
