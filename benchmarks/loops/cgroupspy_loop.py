"""cgroupspy_loop.py VERB ROOT HIERARCHY PATH FILE=TEXT... <NAMES: the work of the other loops, done
by the library cgroupspy. cgroupspy has no class for pids: its class for what all controllers have
reads and writes the files.
"""

import sys

from cgroupspy.controllers import Controller
from cgroupspy.trees import Tree

verb, root, hierarchy, path, *settings = sys.argv[1:]
lines = sys.stdin.read().splitlines()
tree = Tree(root_path=root, groups=[hierarchy], sub_groups=[path.strip("/")])
node = tree.get_node_by_path(f"/{hierarchy}{path}".encode())
values = [word.split("=", 1) for word in settings]


def create() -> None:
    """Create containers with values."""
    for name in lines:
        made = Controller(node.create_cgroup(name))
        for file, text in values:
            made.set_property(file.encode(), text)


def remove() -> None:
    """Remove the container `top` with all below it."""
    (top,) = (child for child in node.children if child.name == b"top")
    for name in lines:
        top.delete_cgroup(name)
    node.delete_cgroup("top")


def walk() -> None:
    """Print each container, with its number of tasks and its pids.max."""
    for one in tree.walk(node):
        found = Controller(one)
        print(one.path.decode(), len(found.tasks), found.get_property(b"pids.max"))


def attach() -> None:
    """Attach processes to the container."""
    own = Controller(node)
    for pid in lines:
        own.procs = [pid]


{"create": create, "remove": remove, "walk": walk, "attach": attach}[verb]()
