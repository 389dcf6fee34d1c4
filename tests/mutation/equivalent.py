"""Changes that no test can notice, each with why."""

from __future__ import annotations

FLAG = "a flag without a default is shown as 0, too, and counts as none"

# By module, place, what was there, what stands there instead (changes.Change.key).
EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "pcont.model.proc_files",
        "ProcFiles.proc_file",
        "slash and task.isdecimal() and (name in (membership, 'cpuset'))",
        "task.isdecimal() and name in (membership, 'cpuset')",
    ): "without a slash there is no name behind it, and no file is called by none",
    (
        "pcont.model.open_files",
        "FileAccounts.close",
        "nd (not charged.held) and tree and (AUTO_DELETE in tree.rows)",
        "nd (not charged.held) and tree",
    ): "Node.check_delete() asks again: this saves the way through the tree",
    (
        "pcont.model.cgroups",
        "ModelTree.spelled",
        "self.bare and file in self.rows",
        "self.bare",
    ): "a file that is not there is only called so in the message of its refusal",
    (
        *("pcont.subsys.freezer", "TABLE.PARENT", "0", "1"),
    ): "what is read is derived from the states above",
    (*("pcont.subsys.freezer", "TABLE.SELF", "0", "1"),): "what is read is derived from the state",
    (
        "pcont.subsys.core",
        "TABLE.'cgroup.sane_behavior'",
        "up v1', FLAG, where=Where.ROOT, default=0)",
        "up v1', FLAG, where=Where.ROOT)",
    ): FLAG,
    (
        "pcont.subsys.core",
        "TABLE.'auto_delete'",
        " child', FLAG, writable=True, default=0, kept=True)",
        " child', FLAG, writable=True, kept=True)",
    ): FLAG,
    (
        "pcont.model.cgroups",
        "Node.check_delete",
        "self.parent is None or not self.has(AUTO_DELETE) or (not self.value(AUTO_DELETE))",
        "not self.has(AUTO_DELETE) or not self.value(AUTO_DELETE)",
    ): "no root has an auto_delete: this tells the reader, and the types",
    (
        "pcont.model.open_files",
        "FileAccounts.close",
        "charged and (not charged.held) and tree and (AUTO_DELETE in tree.",
        "charged and tree and (AUTO_DELETE in tree.",
    ): "Node.check_delete() asks again whether files are held: this saves the way through the tree",
    (
        *("pcont.model.simulator", "ModelSimulator.spawn", "0", "1"),
    ): "when a played task has begun is never looked at",
    (
        *("pcont.subsys.cpuset", "HIGHEST_LEVEL", "5", "6"),
    ): "how many levels there are depends on the machine; tests/subsys/test_cpuset.py holds the 5",
    (
        "pcont.model.placement",
        "TaskPlacement.live_below",
        "at and node in at.upwards()",
        "at",
    ): "more tasks than need be are looked after, which harms nobody",
    (
        "pcont.subsys.model.cpuset",
        "BEHAVIOURS",
        "site.value(CPUS) & site.machine.cpus",
        "site.value(CPUS)",
    ): "Hotplug.plug() takes from every list what is not online any more",
    (
        *("pcont.subsys.cpuacct", "TABLE.'cpuacct.usage'", "0", "1"),
    ): "what is read is derived from what was used",
    (
        "pcont.subsys.freezer",
        "TABLE.STATE",
        "rue, where=Where.NOT_ON_ROOT, default=THAWED, rules=(frozen_or_thawed,), ord",
        "rue, where=Where.NOT_ON_ROOT, rules=(frozen_or_thawed,), ord",
    ): "whatever was written and is not FROZEN counts as THAWED",
    (
        "pcont.subsys.core",
        "TABLE.'cgroup.clone_children'",
        't.mems", FLAG, writable=True, default=0, passed_on=True)',
        't.mems", FLAG, writable=True, passed_on=True)',
    ): FLAG,
    (
        "pcont.subsys.cpuset",
        "_flag.f'cpuset.{name}'",
        "FLAG, v6=name, writable=True, default=0, **more)",
        "FLAG, v6=name, writable=True, **more)",
    ): FLAG,
    (
        "pcont.subsys.core",
        "TABLE.'notify_on_release'",
        " child', FLAG, writable=True, default=0, passed_on=True)",
        " child', FLAG, writable=True, passed_on=True)",
    ): FLAG,
}
