/*
 * What the programs know of the kernel: as much of each struct as they read. The loader finds the
 * fields in the types of the running kernel (CO-RE), so that one object does for all.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct kernfs_node {
	__u64 id; /* the inode number of a container's directory */
	void *priv;
};

struct cgroup_subsys_state {
	unsigned int flags;
	struct cgroup_subsys_state *parent; /* of the container above; the root has none */
};

struct cgroup_root {
	int hierarchy_id; /* the first field of a line of /proc/PID/cgroup */
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

/* The containers of a task, one in each hierarchy; tasks that are in the same ones share it. */
struct css_set {
	struct list_head cgrp_links;
};

struct cgrp_cset_link {
	struct cgroup *cgrp;
	struct css_set *cset;
	struct list_head cgrp_link;
};

struct user_namespace {
	int level;
};

/* Two words before Linux 6.3, one double word since; on little-endian machines that is the same. */
typedef struct {
	__u32 first;
} kernel_cap_t;

struct cred {
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct task_struct {
	struct css_set *cgroups;
	const struct cred *cred;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	void *i_private;
};

struct dentry {
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct file;

#pragma clang attribute pop

#define CSS_ONLINE (1 << 1)
#define CGROUP_SUPER_MAGIC 0x27e0eb
#define CAP_SYS_ADMIN 21
