#!/usr/bin/env bash
# The main job, shown: a hierarchy over cpuset and cpuacct, two containers, a busy process, a clone,
# a refusal. On the real cgroups of this host as root, on the model otherwise, and with the word
# `model`. Nothing is left.
set -u

name=pcont-demo-$$
busy=
mounted=()
before=$(cut -d: -f2- /proc/self/cgroup)
model=
scratch=$(mktemp -d)

bold= cyan= plain=
if [ -t 1 ]; then bold=$'\033[1m' cyan=$'\033[36m' plain=$'\033[0m'; fi

say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }

# Show a command as it can be typed, and run it.
show() {
    local word words=
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_./:=,@%+-]*) words+=" '${word//\'/\'\\\'\'}'" ;;
            *) words+=" $word" ;;
        esac
    done
    printf '%s$%s%s\n' "$cyan" "$words" "$plain"
    "$@"
}

# A step of the story that must go well.
do_() { show "$@" || { echo "demo: this should have worked" >&2; exit 1; }; }

# A step that must be refused.
refused() {
    show "$@"
    local status=$?
    printf '(exit %s)\n' "$status"
    [ "$status" -ne 0 ] || { echo "demo: this should have been refused" >&2; exit 1; }
}

clean_up() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$busy" ]; then
        kill "$busy"
        wait "$busy"
    fi 2> "$scratch/ignored"
    if [ "${#mounted[@]}" -gt 0 ]; then
        say "Everything is removed again"
        for one in a b; do
            pcont rm -r --kill "$name:/$one" 2> "$scratch/ignored"
        done
        for one in "${mounted[@]}"; do show pcont umount "$one" || status=1; done
    fi
    rm -r "$scratch"
    if grep -q "$name" /proc/self/cgroup /proc/self/mountinfo; then
        echo "demo: something of $name is left" >&2
        status=1
    elif [ "$before" != "$(cut -d: -f2- /proc/self/cgroup)" ]; then
        say "Nothing is left; others have changed the hierarchies of this host meanwhile"
    elif [ "$status" -eq 0 ]; then
        say "/proc/self/cgroup lists the same hierarchies as before: nothing is left"
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

on_the_model() {
    export PCONT_BACKEND=model PCONT_STATE=$scratch/model.json
    model=yes
}

tie=(pcont mount --tie --name "$name" -o cpuset,cpuacct --at "/$name")

if [ "${1:-}" = model ]; then
    say "This is the MODEL, a kernel in memory"
    on_the_model
elif [ "$(id -u)" -ne 0 ]; then
    say "You are not root: this is the MODEL, a kernel in memory. sudo make demo drives the real one"
    on_the_model
elif ! "${tie[@]}" --dry-run > "$scratch/ignored" 2>&1; then
    say "The real cgroups of this host"
    refused "${tie[@]}"
    say "So this is the MODEL, a kernel in memory"
    on_the_model
else
    say "The real cgroups of this host"
fi

if [ -n "$model" ]; then
    for controller in cpuset cpuacct; do
        do_ pcont mount -o "$controller"
        mounted=("$controller" ${mounted[@]+"${mounted[@]}"})
    done
fi

say "One hierarchy over both: whatever is done is done in both, or in neither"
do_ "${tie[@]}"
mounted=("$name" ${mounted[@]+"${mounted[@]}"})

cpus=$(pcont get "$name:/" cpuset.cpus)
last=${cpus##*[,-]}
mems=$(pcont get "$name:/" cpuset.mems)

say "Two containers with their CPUs and memory nodes"
do_ pcont create "$name:/a" -s "cpuset.cpus=$last" -s "cpuset.mems=$mems"
do_ pcont create -i "$name:/b"

say "A busy process goes into one of them, and may run on CPU $last only"
while :; do :; done &
busy=$!
show grep Cpus_allowed_list "/proc/$busy/status"
do_ pcont attach "$name:/a" "$busy"
if [ -n "$model" ]; then
    show pcont where "$busy"
else
    do_ grep "Cpus_allowed_list:.$last\$" "/proc/$busy/status"
fi
do_ pcont ps "$name:/a"

say "Its CPU time is counted, in nanoseconds"
first=$(pcont get "$name:/a" cpuacct.usage)
sleep 1
do_ pcont get "$name:/a" cpuacct.usage
[ "$(pcont get "$name:/a" cpuacct.usage)" -gt "$first" ] || exit 1

say "clone starts a command in a container of its own, below the one that it is called in"
do_ pcont run "$name:/b" -- pcont clone "$name" -- sh -c "pcont where \$\$ | grep -w '$name'"

say "A refusal says which rule it is, and changes nothing"
do_ pcont create "$name:/b/empty"
refused pcont attach "$name:/b/empty" "$busy"
refused pcont set "$name:/a" cpuset.memory_migrate=1 cpuset.cpus=9999

say "What there is now"
do_ pcont tree "$name"
