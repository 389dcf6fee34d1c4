/* Which container of a cgroup v1 hierarchy the current task is in. */

/* A container: pcont makes the same key of the hierarchy's number and the directory's inode. */
struct key {
	__u64 container;
	__u64 hierarchy;
};

#define HIERARCHIES 128 /* more than any host has mounted */
#define ATTEMPTS 8

enum whereabouts {
	OUTSIDE, /* in the root of the hierarchy: nothing is counted there */
	INSIDE,
	MOVING, /* it was moved again and again during the look-up */
};

/* A walk along the links of a css_set, to the link of one hierarchy. */
struct walk {
	struct css_set *set;
	void *at;
	void *end;
	struct cgroup *found;
	int hierarchy;
};

static long step(__u32 index, struct walk *walk)
{
	struct cgrp_cset_link *link = walk->at - bpf_core_field_offset(struct cgrp_cset_link, cgrp_link);
	struct cgroup *group = BPF_CORE_READ(link, cgrp);

	if (walk->at == walk->end || BPF_CORE_READ(link, cset) != walk->set)
		return 1;
	if (BPF_CORE_READ(group, root, hierarchy_id) == walk->hierarchy) {
		walk->found = group;
		return 1;
	}
	walk->at = BPF_CORE_READ(link, cgrp_link.next);
	return 0;
}

/* The container in one hierarchy; NULL if there is none, as the set may have been freed. */
static __always_inline struct cgroup *linked(struct css_set *set, int hierarchy)
{
	struct walk walk = {
		.set = set,
		.at = BPF_CORE_READ(set, cgrp_links.next),
		.end = (void *)set + bpf_core_field_offset(struct css_set, cgrp_links),
		.hierarchy = hierarchy,
	};

	bpf_loop(HIERARCHIES, step, &walk, 0);
	return walk.found;
}

static __always_inline struct css_set *current_set(void)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();

	return BPF_CORE_READ(task, cgroups);
}

/* Read the container from a set. Set and container may have been freed since: check the set after. */
static __always_inline enum whereabouts look(struct css_set *set, __u32 hierarchy, struct key *key,
					     struct cgroup **found)
{
	struct cgroup *group = linked(set, hierarchy);

	key->container = group ? BPF_CORE_READ(group, kn, id) : 0;
	key->hierarchy = hierarchy;
	*found = group;
	return group && BPF_CORE_READ(group, level) ? INSIDE : OUTSIDE;
}

/*
 * A move gives a task another set, and the kernel frees the links of the old one at once. So what was
 * read is valid only if the task still has the same set after the last read.
 */
static __always_inline enum whereabouts whereabouts(__u32 hierarchy, struct key *key,
						    struct cgroup **found)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		struct css_set *set = current_set();
		enum whereabouts where = look(set, hierarchy, key, found);

		if (current_set() == set)
			return where;
	}
	return MOVING;
}
