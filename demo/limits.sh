#!/usr/bin/env bash
# Shows limits that pcont adds: a container may open 20 files, and fork 3 times a second. The demo
# works on the cgroups of this host if you are root and the kernel accepts BPF programs. If not, or
# with the argument `model`, it works on the model. It removes everything that it makes.
set -u

name=pcont-demo-$$
tie=(pcont mount --tie --name "$name" -o numfiles,numtasks --at "/$name")
controllers=(pids) containers=(c)
. "${0%/*}/telling.sh"

say "A container may open 20 files, and fork 3 times a second"
do_ "${tie[@]}"
mounted=("$name" ${mounted[@]+"${mounted[@]}"})
limits=(-s bc.numfiles.barrier=20 -s bc.numfiles.limit=20 -s forkrate=3)
do_ pcont create "$name:/c" "${limits[@]}"

say "The kernel refuses to open one more file, and to fork more often"
if [ -n "$model" ]; then
    do_ pcont sim fork | tee "$scratch/task"
    task=$(tail -n 1 "$scratch/task")
    do_ pcont attach "$name:/c" "$task"
    refused pcont sim open "$task" --count 21
    refused pcont sim fork "$task" --count 4
else
    do_ pcont run "$name:/c" -- bash -c 'while exec {file}< /dev/null; do :; done'
    do_ pcont run "$name:/c" -- bash -c 'for one in 1 2 3 4 5 6; do true & done; wait'
fi

say "The container counts both"
do_ pcont get "$name:/c" bc.numfiles.maxheld bc.numfiles.failcnt numtasks.stats
