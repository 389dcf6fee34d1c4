#!/usr/bin/env bash
# The main job, shown: a hierarchy over cpuset and cpuacct, two containers, a busy process, a clone,
# a refusal. On the real cgroups of this host as root, on the model otherwise, and with the word
# `model`. Nothing is left.
set -u

name=pcont-demo-$$
tie=(pcont mount --tie --name "$name" -o cpuset,cpuacct --at "/$name")
controllers=(cpuset cpuacct) containers=(a b)
. "${0%/*}/telling.sh"

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
