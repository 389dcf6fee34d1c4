# What a sysadmin does with a hierarchy. tests/contract/test_same_script.py runs it on each backend
# and kernel, and compares what it prints. NAME, MOUNTPOINT: of the hierarchy; LINES: a file to write.
job=none
user=$(id -un)

say() {
    echo "\$ pcont $*" | same
    out=$(pcont "$@" 2>&1)
    status=$?
    [ -z "$out" ] || echo "$out" | same
    [ $status = 0 ] || echo "exit $status"
}

# The hint to an empty cpuset has the CPUs and nodes of the machine.
same() { sed "s/cpuset.mems=[-0-9]* cpuset.cpus=[-0-9]*/cpuset.mems=ALL cpuset.cpus=ALL/; /^  at:/d; s#$LINES#lines#g; s#$MOUNTPOINT#/jobs#g; s/$NAME/jobs/g; s/\\b$job\\b/JOB/g; s/\\t$user\\t/\\tUSER\\t/"; }

# The order of the columns is that of the trees, and times differ.
say_tree() {
    echo "\$ pcont tree $1" | same
    pcont tree "$1" | while read -r line; do
        echo "$line" | tr '\t' '\n' | grep -v usage | LC_ALL=C sort | paste -sd' ' | same
    done
}

say mount --tie --name $NAME -o cpuset,cpuacct,pids $MOUNTPOINT
say create $NAME:/web -s cpuset.cpus=0 -s cpuset.mems=0 -s pids.max=50
say create $NAME:/web
say create -i $NAME:/web/blue $NAME:/web/green
say set $NAME:/web/blue pids.max=10 cpuset.cpus=0 auto_delete=0
say set $NAME:/web/blue pids.max=20 cpuset.cpus=x
say get $NAME:/web/blue pids.max cpuset.cpus pids.current
say get $NAME:/web/blue pids.maximum
say get $NAME:/web pids.max
sleep 600 </dev/null >/dev/null 2>&1 &
job=$!
disown
say attach $NAME:/web/blue $job
say attach $NAME:/nowhere $job
say ps $NAME:/web/blue
say get $NAME:/web/blue pids.current
say_tree $NAME:/web
say rm $NAME:/web/blue
say move $NAME:/web/blue $NAME:/web/green
say rm $NAME:/web/blue
say run $NAME:/web/green -- sh -c 'exit 7'
say run $NAME:/web/red -- true
say run --create --auto-delete $NAME:/once -- true
say set $NAME:/web/green auto_delete=1
say attach $NAME:/ $job
while pcont get $NAME:/web/green auto_delete >/dev/null 2>&1; do sleep 0.1; done
say_tree $NAME:/web
printf 'create %s:/a\nset %s:/a pids.max=5\nrm %s:/b\n' $NAME $NAME $NAME >"$LINES"
say batch --atomic "$LINES"
say batch --keep-going "$LINES"
say get $NAME:/a pids.max
say attach $NAME:/a $job
say rm -r --kill $NAME:/a $NAME:/web
say umount $NAME
kill $job 2>/dev/null
