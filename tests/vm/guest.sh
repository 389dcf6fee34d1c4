#!/bin/bash
# Makes the guest what its row in guests.py says, then runs the command or a shell.
# The runner shares a folder: guest.env comes from there, release and status are left there.

exec 2>&1 # one port for both: the console of the kernel has the other
shared=/run/vm
. "$shared/guest.env"
uname -r > "$shared/release"

# The root of the guest asks the host for every byte again. Where Python and the programs live, look
# through a second export of the same root that is cached: a Python start takes a third of the time.
cache_folders() {
    mkdir -p /run/cached
    mount -t 9p -o ro,version=9p2000.L,trans=virtio,cache=loose,msize=512000 cached /run/cached || return
    local folder
    for folder in "${CACHED[@]}"; do
        if [ -d "/run/cached$folder" ]; then mkdir -p "$folder" && mount --bind "/run/cached$folder" "$folder"; fi
    done
}

# The guest starts with cgroup2 at /sys/fs/cgroup. Controllers stay unmounted: the tests do that.
lay_out() {
    case $LAYOUT in
        v1 | hybrid)
            umount /sys/fs/cgroup || return
            mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup || return
            ;;
        systemd) return ;; # systemd has mounted all of it
    esac
    mount -t bpf bpf /sys/fs/bpf || return
    if [ "$LAYOUT" = hybrid ]; then
        mkdir /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified || return
    fi
}

leave() {
    echo "$1" > "$shared/status.new"
    mv "$shared/status.new" "$shared/status"
    exit "$1"
}

# As most distributions have it, Debian not: a session that forks without end gets the CPU time of one.
echo 1 > /proc/sys/kernel/sched_autogroup_enabled

cache_folders
mkdir -p "$HOME" "$TMPDIR"
lay_out || { echo "guest.sh: no $LAYOUT layout of cgroups" && leave 125; }
cd "$CHECKOUT" || leave 125

if [ -n "$COMMAND" ]; then
    bash -c "$COMMAND" < /dev/null
    leave $?
fi
export PS1="$PCONT_GUEST:\w# "
if [ "$LAYOUT" = systemd ]; then
    setsid --ctty --wait bash --norc -i < /dev/ttyS0 # a unit has no terminal
else
    bash --norc -i
fi
leave $?
