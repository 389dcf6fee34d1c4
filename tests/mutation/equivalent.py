"""Changes that no test can notice, each with why."""

from __future__ import annotations

FLAG = "a flag without a default is shown as 0, too, and counts as none"

# By module, place, old text, new text (changes.Change.key).
EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "pcont.model.open_files",
        "FileAccounts.close",
        "tree and on_closed and charged and (not",
        "on_closed and charged and (not",
    ): "without a tree there is no hook: this is for the types",
    (
        "pcont.model.cgroups",
        "ModelTree.spelled",
        "self.bare and file in self.rows",
        "self.bare",
    ): "a file that is not there is only called so in the message of its refusal",
    (
        *("pcont.subsys.v1.freezer", "TABLE.PARENT", "0", "1"),
    ): "what is read is derived from the states above",
    (
        "pcont.subsys.v1.freezer",
        "TABLE.PARENT",
        " in a container above', FLAG, default=0, access=Access(where=Where.NOT_",
        " in a container above', FLAG, access=Access(where=Where.NOT_",
    ): "what is read is derived from the states above",
    (
        *("pcont.subsys.v1.freezer", "TABLE.SELF", "0", "1"),
    ): "what is read is derived from the state",
    (
        "pcont.subsys.v1.core",
        "TABLE.'cgroup.sane_behavior'",
        "always 0 on cgroup v1', FLAG, default=0, access=Access(where=Where.ROOT",
        "always 0 on cgroup v1', FLAG, access=Access(where=Where.ROOT",
    ): FLAG,
    (
        "pcont.subsys.v1.core",
        "TABLE.'auto_delete'",
        "ore task and no child', FLAG, default=0, access=Access(writable=True), ",
        "ore task and no child', FLAG, access=Access(writable=True), ",
    ): FLAG,
    (
        "pcont.model.open_files",
        "FileAccounts.close",
        "tree and on_closed and charged and (not charged.held)",
        "tree and on_closed and charged",
    ): "the hook asks again whether files are held: this saves the way through the tree",
    (
        *("pcont.model.simulator", "ModelSimulator.spawn", "0", "1"),
    ): "when a played task has begun is never looked at",
    (
        *("pcont.subsys.cpuset", "_HIGHEST_LEVEL", "5", "6"),
    ): "how many levels there are depends on the machine; tests/subsys/test_cpuset.py holds the 5",
    (
        *("pcont.backend_model", "Model.may_change", "True", "False"),
    ): "doctor and refusals of cgroup v2 ask, and not of a model with cgroup v1",
    (
        *("pcont.subsys.v1.cpuset", "TABLE.'cpuset.sched_load_balance'", "1", "2"),
    ): "the file shows 1 for every number but 0",
    (
        "pcont.model.placement",
        "TaskPlacement.live_below",
        "at and node in at.upwards()",
        "at",
    ): "more tasks than necessary are looked after, which does no harm",
    (
        "pcont.subsys.model.cpuset",
        "_effective_cpus",
        "_cpus(site) & site.machine.cpus",
        "_cpus(site)",
    ): "Hotplug.plug() takes from every list what is not online any more",
    (
        *("pcont.subsys.v1.cpuacct", "TABLE.'cpuacct.usage'", "0", "1"),
    ): "what is read is derived from what was used",
    (
        "pcont.subsys.v1.freezer",
        "TABLE.STATE",
        "THAWED continues them', WORD, default=THAWED, rules=(frozen_or_thawed,), ord",
        "THAWED continues them', WORD, rules=(frozen_or_thawed,), ord",
    ): "whatever was written and is not FROZEN counts as THAWED",
    (
        "pcont.subsys.v1.core",
        "TABLE.'cgroup.clone_children'",
        '.cpus and cpuset.mems", FLAG, default=0, access=Access(writable=True), ',
        '.cpus and cpuset.mems", FLAG, access=Access(writable=True), ',
    ): FLAG,
    (
        "pcont.subsys.v1.cpuset",
        "_flag.f'cpuset.{word}'",
        "uset.{word}', help, INT_FLAG, default=0, rules=rules, access=Access(wri",
        "uset.{word}', help, INT_FLAG, rules=rules, access=Access(wri",
    ): FLAG,
    (
        "pcont.subsys.v1.core",
        "TABLE.'notify_on_release'",
        "ore task and no child', FLAG, default=0, access=Access(writable=True), ",
        "ore task and no child', FLAG, access=Access(writable=True), ",
    ): FLAG,
    (
        "pcont.subsys.v1.cpuset",
        "TABLE.'cpuset.memory_pressure_enabled'",
        "asure memory_pressure', FLAG, default=0, access=Access(writable=True, w",
        "asure memory_pressure', FLAG, access=Access(writable=True, w",
    ): FLAG,
    (
        *("pcont.model.attach", "Attaching._must_move", "False", "True"),
    ): "no rule of cgroup v1 refuses a task that is in the container already",
    (
        "pcont.subsys.model.v2.core",
        "_forget_threaded",
        "site.parent and _is_threaded(site)",
        "_is_threaded(site)",
    ): "a root is not removed: this is for the types",
    (
        *("pcont.subsys.model.v2.core", "_forget_threaded"),
        *("del site.parent.facts[_CHILDREN]", "pass"),
    ): "a fact that is 0 counts as none",
    (
        *("pcont.subsys.model.v2.cpu", "_weight", "10000", "10001"),
    ): "no load is so high that the weight is above 10000",
}
