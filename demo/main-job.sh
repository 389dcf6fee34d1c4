#!/usr/bin/env bash
# Shows the main commands: a hierarchy over cpuset and cpuacct, two containers, a busy process, a
# clone, a refusal. As root, this works on the cgroups of the host. Otherwise, and with the argument
# `model`, it works on the model. It removes everything that it makes.
set -u

name=pcont-demo-$$
tie=(pcont mount --tie --name "$name" -o cpuset,cpuacct --at "/$name")
controllers=(cpuset cpuacct) containers=(a b)
. "${0%/*}/telling.sh"

say "Make one hierarchy over both: pcont does each operation in both, or in neither"
do_ "${tie[@]}"
mounted=("$name" ${mounted[@]+"${mounted[@]}"})

cpus=$(pcont get "$name:/" cpuset.effective_cpus)
last=${cpus##*[,-]}
mems=$(pcont get "$name:/" cpuset.effective_mems)
on_v2=$(pcont hierarchies | grep "^$name.*unified")

say "Make two containers with CPUs and memory nodes"
do_ pcont create "$name:/a" -s "cpuset.cpus=$last" -s "cpuset.mems=$mems"
do_ pcont create -i "$name:/b"

say "Move a busy process into one of them: it may run on CPU $last only"
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

say "The container counts its CPU time, in nanoseconds"
first=$(pcont get "$name:/a" cpuacct.usage)
sleep 1
do_ pcont get "$name:/a" cpuacct.usage
[ "$(pcont get "$name:/a" cpuacct.usage)" -gt "$first" ] || exit 1

say "clone runs a command in a new container, below the one that it is called in"
do_ pcont run "$name:/b" -- pcont clone "$name" -- sh -c "pcont where \$\$ | grep -w '$name'"

say "An error names the rule, and changes nothing"
do_ pcont create "$name:/b/empty"
if [ -n "$on_v2" ]; then
    say "On cgroup v2, a container without CPUs of its own has those of its parent"
    do_ pcont attach "$name:/b/empty" "$busy"
else
    refused pcont attach "$name:/b/empty" "$busy"
fi
refused pcont set "$name:/a" cpuset.memory_migrate=1 cpuset.cpus=9999

say "Show the containers"
do_ pcont tree "$name"
