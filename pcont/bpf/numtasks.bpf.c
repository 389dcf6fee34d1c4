/*
 * numtasks: the forks of a container are counted, and one too many in a period is refused with EAGAIN.
 *
 * Every task counts, so also a thread, for the container of the one that starts it; each container
 * counts for itself: patch semantics, 4.5 and 4.7. It has the rate of the nearest container, from
 * itself upwards, that says one. This is asked before the pids controller charges anything.
 */
#include "kernel.h"

#include "container.h"

#define SECOND 1000000000ULL
#define UNLIMITED 0x7fffffff /* as the patch has it */

struct state {
	__u64 hierarchy; /* the number of the one that is counted in */
	__u64 no_counts; /* forks that were not counted as there was no room, refused if there is a rate, */
	__u64 moving; /* or as the container could not be told */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

/* What a container says; written by pcont alone, and as a whole. 0 is what it does not say. */
struct rate {
	__u64 root; /* numtasks is bound to it: nothing counts further up, nor in who finds no such */
	__u64 forks; /* so many in a period */
	__u64 interval; /* of so many seconds */
	__u64 mark; /* another one whenever something is said: periods begin anew */
};

/* Written by the programs alone. */
struct counts {
	struct bpf_spin_lock lock;
	__u64 mark; /* the rate's when the period began, */
	__u64 since; /* which was at this time */
	__u64 forks; /* in the period */
	__u64 successes;
	__u64 failures; /* forks that the rate did not allow */
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

static __always_inline struct state *the_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* On the way from a container to the root of its hierarchy. */
struct climb {
	struct cgroup *at;
	__u64 hierarchy;
	struct rate found;
};

static long hear(__u32 index, struct climb *climb)
{
	struct cgroup *at = climb->at;
	struct cgroup_subsys_state *above = BPF_CORE_READ(at, self.parent);
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
	if (climb->found.root || !above)
		return 1;
	climb->at = (void *)above - bpf_core_field_offset(struct cgroup, self);
	return 0;
}

/* The rate of a container, which is inside where numtasks is bound to it or further up. */
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

/* The current task's container with its rate; all of it was true at one time. */
static __always_inline enum whereabouts who_forks(struct state *is, struct key *key,
						  struct cgroup **group, struct rate *rate)
{
	/* Who is outside has none; Linux 6.1 lets nobody look at what was never written. */
	*rate = (struct rate){};
	for (int i = 0; i < ATTEMPTS; i++) {
		struct css_set *set = current_set();
		enum whereabouts where = look(set, is->hierarchy, key, group);

		if (where == INSIDE)
			where = rate_of(*group, key, rate);
		if (current_set() == set)
			return where;
	}
	__sync_fetch_and_add(&is->moving, 1);
	return MOVING;
}

/* The numbers of a container, which begin with its first fork. */
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
	/* The task may have been moved since, and the container removed: then nobody forgets it. */
	if (!(BPF_CORE_READ(group, self.flags) & CSS_ONLINE))
		bpf_map_delete_elem(&counts, key);
	return found;
}

static __always_inline bool fits(struct counts *of, struct rate *rate)
{
	__u64 now = bpf_ktime_get_ns();
	bool fits;

	bpf_spin_lock(&of->lock);
	/* Another CPU may have begun one that is later than this now. */
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

/* A task has begun: nothing has refused it. */
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

/* A container is gone. */
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
