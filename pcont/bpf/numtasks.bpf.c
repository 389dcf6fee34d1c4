/*
 * numtasks: count the forks of containers, and refuse one above the rate limit with EAGAIN.
 *
 * Every new task counts, even a thread, for the container of its parent only: patch semantics, 4.5
 * and 4.7. A container has its own rate, or that of the nearest parent with one. The kernel calls
 * these programs before the pids controller. The containers are those of cgroup v2 or of a hierarchy
 * of cgroup v1: where pids is.
 */
#include "kernel.h"

#include "container.h"

/* Stands for cgroup v2, the number of which is 0. bpf/programs.py has the same constant. */
#define UNIFIED (1ULL << 32)
#define LEAF "pcont.tasks" /* kernel/types.py */
#define SECOND 1000000000ULL
#define UNLIMITED 0x7fffffff /* the value of the 2006 patch */

struct state {
	__u64 hierarchy; /* the number of the hierarchy in which forks are counted, or UNIFIED */
	__u64 no_counts; /* forks not counted because the map was full; refused if there is a rate, */
	__u64 moving; /* or because the container could not be determined */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

/* The settings of a container; written only by pcont, all at once. 0: not set. */
struct rate {
	__u64 root; /* numtasks is bound here: parents of this container, and others, are not counted */
	__u64 forks; /* the limit of forks in a period */
	__u64 interval; /* the length of a period in seconds */
	__u64 mark; /* changes with each setting, which starts a new period */
};

/* Written only by the programs. */
struct counts {
	struct bpf_spin_lock lock;
	__u64 mark; /* the mark of the rate when the period began */
	__u64 since; /* when the period began: nanoseconds since boot */
	__u64 forks; /* in the period */
	__u64 successes;
	__u64 failures; /* forks refused by the rate */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct rate);
} rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct counts);
} counts SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct css_set___v2 {
	struct cgroup *dfl_cgrp; /* the container in cgroup v2 */
};

struct kernfs_node___named {
	const char *name;
};

#pragma clang attribute pop

static __always_inline struct state *the_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* A walk from a container to the root of its hierarchy, which collects the settings. */
struct climb {
	struct cgroup *at;
	__u64 hierarchy;
	struct rate found;
};

static __always_inline struct cgroup *above(struct cgroup *group)
{
	struct cgroup_subsys_state *parent = BPF_CORE_READ(group, self.parent);

	return parent ? (void *)parent - bpf_core_field_offset(struct cgroup, self) : NULL;
}

static long hear(__u32 index, struct climb *climb)
{
	struct cgroup *at = climb->at;
	struct cgroup *parent = above(at);
	struct key key = {
		.container = BPF_CORE_READ(at, kn, id),
		.hierarchy = climb->hierarchy,
	};
	struct rate *said = bpf_map_lookup_elem(&rates, &key);

	if (said) {
		climb->found.root = said->root;
		if (!climb->found.forks)
			climb->found.forks = said->forks;
		if (!climb->found.interval)
			climb->found.interval = said->interval;
		climb->found.mark ^= said->mark;
	}
	if (climb->found.root || !parent)
		return 1;
	climb->at = parent;
	return 0;
}

/* The rate of a container. INSIDE: numtasks is bound to it or to a parent. */
static __always_inline enum whereabouts rate_of(struct cgroup *group, struct key *key,
						struct rate *rate)
{
	struct climb climb = {
		.at = group,
		.hierarchy = key->hierarchy,
	};

	bpf_loop(BPF_CORE_READ(group, level) + 1, hear, &climb, 0);
	*rate = climb.found;
	return rate->root ? INSIDE : OUTSIDE;
}

static __always_inline bool is_leaf(struct cgroup *group)
{
	struct kernfs_node___named *node = (void *)BPF_CORE_READ(group, kn);
	char name[sizeof(LEAF) + 1] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(node, name));
	for (unsigned int i = 0; i < sizeof(LEAF); i++)
		if (name[i] != LEAF[i])
			return false;
	return true;
}

/* The same as `look`, in cgroup v2. A leaf has the tasks of the container above it. */
static __always_inline enum whereabouts look_in_v2(struct css_set *set, struct key *key,
						   struct cgroup **found)
{
	struct cgroup *group = BPF_CORE_READ((struct css_set___v2 *)set, dfl_cgrp);

	if (group && is_leaf(group))
		group = above(group);
	key->container = group ? BPF_CORE_READ(group, kn, id) : 0;
	key->hierarchy = 0;
	*found = group;
	return group && BPF_CORE_READ(group, level) ? INSIDE : OUTSIDE;
}

/* The current task's container with its rate, both read at one consistent moment. */
static __always_inline enum whereabouts who_forks(struct state *is, struct key *key,
						  struct cgroup **group, struct rate *rate)
{
	/* No rate outside; Linux 6.1 refuses programs that may read an unwritten variable. */
	*rate = (struct rate){};
	for (int i = 0; i < ATTEMPTS; i++) {
		struct css_set *set = current_set();
		enum whereabouts where;

		if (is->hierarchy == UNIFIED)
			where = look_in_v2(set, key, group);
		else
			where = look(set, is->hierarchy, key, group);
		if (where == INSIDE)
			where = rate_of(*group, key, rate);
		if (current_set() == set)
			return where;
	}
	__sync_fetch_and_add(&is->moving, 1);
	return MOVING;
}

/* The counters of a container; its first fork creates them. */
static __always_inline struct counts *counts_of(struct state *is, struct key *key,
						struct cgroup *group)
{
	struct counts *found = bpf_map_lookup_elem(&counts, key);
	struct counts fresh = {};

	if (found)
		return found;
	bpf_map_update_elem(&counts, key, &fresh, BPF_NOEXIST);
	found = bpf_map_lookup_elem(&counts, key);
	if (!found)
		__sync_fetch_and_add(&is->no_counts, 1);
	/* If the container was removed, `forget` has run already: delete the entry here. */
	if (!(BPF_CORE_READ(group, self.flags) & CSS_ONLINE))
		bpf_map_delete_elem(&counts, key);
	return found;
}

static __always_inline bool fits(struct counts *of, struct rate *rate)
{
	__u64 now = bpf_ktime_get_ns();
	bool fits;

	bpf_spin_lock(&of->lock);
	/* Signed: another CPU may have started a period later than `now`. */
	if (of->mark != rate->mark || (__s64)(now - of->since) > (__s64)(rate->interval * SECOND)) {
		of->mark = rate->mark;
		of->since = now;
		of->forks = 0;
	}
	fits = of->forks < rate->forks;
	if (fits)
		of->forks++;
	else
		of->failures++;
	bpf_spin_unlock(&of->lock);
	return fits;
}

SEC("lsm/task_alloc")
int BPF_PROG(admit, struct task_struct *task)
{
	struct state *is = the_state();
	struct cgroup *group;
	struct counts *of;
	struct rate rate;
	struct key key;

	if (!is)
		return 0;
	switch (who_forks(is, &key, &group, &rate)) {
	case OUTSIDE:
		return 0;
	case MOVING:
		return -EAGAIN;
	case INSIDE:
		break;
	}
	if (rate.forks >= UNLIMITED)
		return 0;
	of = counts_of(is, &key, group);
	return of && fits(of, &rate) ? 0 : -EAGAIN;
}

/* A new task runs: no check has refused the fork. */
SEC("tp_btf/task_newtask")
int BPF_PROG(succeed, struct task_struct *task)
{
	struct state *is = the_state();
	struct cgroup *group;
	struct counts *of;
	struct rate rate;
	struct key key;

	if (!is || who_forks(is, &key, &group, &rate) != INSIDE)
		return 0;
	of = counts_of(is, &key, group);
	if (of)
		__sync_fetch_and_add(&of->successes, 1);
	return 0;
}

/* A container was removed. */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(forget, struct cgroup *group)
{
	struct key key = {
		.container = BPF_CORE_READ(group, kn, id),
		.hierarchy = BPF_CORE_READ(group, root, hierarchy_id),
	};

	bpf_map_delete_elem(&rates, &key);
	bpf_map_delete_elem(&counts, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
