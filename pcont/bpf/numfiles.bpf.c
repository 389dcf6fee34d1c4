/*
 * numfiles: count the open files of containers, and refuse one above the limit with ENFILE.
 *
 * An open file (struct file) is charged to the container of the task that opens it, until any task
 * frees it: patch semantics, 5. A file that cannot be counted is refused; `state` counts those.
 */
#include "kernel.h"

#include "container.h"

struct state {
	__u64 hierarchy; /* the number of the hierarchy in which files are counted */
	__u64 no_owner; /* files refused because the map `owners` was full, */
	__u64 no_counts; /* because the map `counts` was full, */
	__u64 moving; /* or because the container could not be determined */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} state SEC(".maps");

/* Written only by pcont. A container without an entry has the default limits. */
struct limits {
	struct bpf_spin_lock lock;
	__u32 forced; /* rmdir is permitted although files are charged to it */
	__u64 barrier;
	__u64 limit;
};

/* Written only by the programs. */
struct counts {
	struct bpf_spin_lock lock;
	__u32 removed; /* the container was removed: delete the entry with its last file */
	__u64 held;
	__u64 maxheld;
	__u64 failcnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct limits);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct key);
	__type(value, struct counts);
} counts SEC(".maps");

/* The container of each open file, by its address. pcont sizes the map for fs.file-max entries. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct key);
} owners SEC(".maps");

static __always_inline struct state *the_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* As capable(CAP_SYS_ADMIN): a capability in another user namespace does not count. */
static __always_inline bool is_admin(void)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	const struct cred *cred = task->cred;
	__u32 capabilities = 0;

	bpf_core_read(&capabilities, sizeof(capabilities), &cred->cap_effective);
	return capabilities & (1 << CAP_SYS_ADMIN) && !cred->user_ns->level;
}

static __always_inline __u64 most_for_the_caller(struct key *key)
{
	struct limits *set = bpf_map_lookup_elem(&limits, key);
	__u64 barrier = 256, limit = 512;

	if (set) {
		bpf_spin_lock(&set->lock);
		barrier = set->barrier;
		limit = set->limit;
		bpf_spin_unlock(&set->lock);
	}
	return is_admin() ? limit : barrier;
}

/* The counters of a container; its first file creates them. */
static __always_inline struct counts *counts_of(struct key *key, struct cgroup *group)
{
	struct counts *found = bpf_map_lookup_elem(&counts, key);
	struct counts fresh = {};

	if (found)
		return found;
	/* The container may have been removed after the task was moved out of it. */
	fresh.removed = !(BPF_CORE_READ(group, self.flags) & CSS_ONLINE);
	bpf_map_update_elem(&counts, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&counts, key);
}

static __always_inline bool charge_one(struct counts *of, __u64 most)
{
	bool fits;

	bpf_spin_lock(&of->lock);
	fits = of->held < most;
	if (fits) {
		of->held++;
		if (of->maxheld < of->held)
			of->maxheld = of->held;
	} else {
		of->failcnt++;
	}
	bpf_spin_unlock(&of->lock);
	return fits;
}

SEC("lsm/file_alloc_security")
int BPF_PROG(charge, struct file *file)
{
	struct state *is = the_state();
	struct cgroup *group;
	struct counts *of;
	__u64 address = (__u64)file;
	struct key key;

	if (!is)
		return 0;
	switch (whereabouts(is->hierarchy, &key, &group)) {
	case OUTSIDE:
		return 0;
	case MOVING:
		__sync_fetch_and_add(&is->moving, 1);
		return -ENFILE;
	case INSIDE:
		break;
	}
	of = counts_of(&key, group);
	if (!of) {
		__sync_fetch_and_add(&is->no_counts, 1);
		return -ENFILE;
	}
	/* The owner first: a reader must not see a charge that is reverted at once. */
	if (bpf_map_update_elem(&owners, &address, &key, BPF_ANY)) {
		__sync_fetch_and_add(&is->no_owner, 1);
		return -ENFILE;
	}
	if (charge_one(of, most_for_the_caller(&key)))
		return 0;
	bpf_map_delete_elem(&owners, &address);
	return -ENFILE;
}

SEC("lsm/file_free_security")
int BPF_PROG(uncharge, struct file *file)
{
	__u64 address = (__u64)file;
	struct key *owner = bpf_map_lookup_elem(&owners, &address);
	struct counts *of;
	struct key key;
	bool forgotten;

	if (!owner)
		return 0;
	key = *owner;
	bpf_map_delete_elem(&owners, &address);
	of = bpf_map_lookup_elem(&counts, &key);
	if (!of)
		return 0;
	bpf_spin_lock(&of->lock);
	if (of->held)
		of->held--;
	forgotten = of->removed && !of->held;
	bpf_spin_unlock(&of->lock);
	if (forgotten)
		bpf_map_delete_elem(&counts, &key);
	return 0;
}

/* rmdir(2) by any program, before the kernel changes anything. */
SEC("lsm/inode_rmdir")
int BPF_PROG(keep, struct inode *parent, struct dentry *dentry)
{
	struct kernfs_node *node;
	struct cgroup *group;
	struct limits *set;
	struct counts *of;
	struct key key;

	if (dentry->d_sb->s_magic != CGROUP_SUPER_MAGIC)
		return 0;
	node = dentry->d_inode->i_private;
	group = BPF_CORE_READ(node, priv);
	key.container = BPF_CORE_READ(node, id);
	key.hierarchy = BPF_CORE_READ(group, root, hierarchy_id);
	of = bpf_map_lookup_elem(&counts, &key);
	if (!of || !of->held)
		return 0;
	set = bpf_map_lookup_elem(&limits, &key);
	return set && set->forced ? 0 : -EBUSY;
}

/* A container was removed. */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(forget, struct cgroup *group)
{
	struct state *is = the_state();
	struct counts *of;
	struct key key;
	bool forgotten;

	key.container = BPF_CORE_READ(group, kn, id);
	key.hierarchy = BPF_CORE_READ(group, root, hierarchy_id);
	if (!is || key.hierarchy != is->hierarchy)
		return 0;
	bpf_map_delete_elem(&limits, &key);
	of = bpf_map_lookup_elem(&counts, &key);
	if (!of)
		return 0;
	bpf_spin_lock(&of->lock);
	of->removed = 1;
	forgotten = !of->held;
	bpf_spin_unlock(&of->lock);
	if (forgotten)
		bpf_map_delete_elem(&counts, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
