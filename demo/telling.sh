# The parts that all demos share, for bash: they print and run commands, choose the kernel or the
# model, and remove everything at the end. A demo sets `tie` (the command that mounts its hierarchy
# $name), `controllers` (to mount on the model first) and `containers` (that it makes).
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

# Run a command that must succeed.
do_() { show "$@" || { echo "demo: this should have worked" >&2; exit 1; }; }

# Run a command that must fail.
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
        for one in "${containers[@]}"; do
            pcont rm -r --kill "$name:/$one" 2> "$scratch/ignored"
        done
        for one in "${mounted[@]}"; do show pcont umount "$one" || status=1; done
    fi
    rm -r "$scratch"
    if grep -q "$name" /proc/self/cgroup /proc/self/mountinfo; then
        echo "demo: something of $name is left" >&2
        status=1
    elif [ "$before" != "$(cut -d: -f2- /proc/self/cgroup)" ]; then
        say "Other programs changed the hierarchies of this host during the demo; nothing is left"
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

if [ "${1:-}" = model ]; then
    say "This is the MODEL, a simulated kernel"
    on_the_model
elif [ "$(id -u)" -ne 0 ]; then
    say "You are not root: this is the MODEL, a simulated kernel. sudo make demo uses the real one"
    on_the_model
elif ! "${tie[@]}" --dry-run > "$scratch/ignored" 2>&1; then
    say "The real cgroups of this host"
    refused "${tie[@]}"
    say "So this is the MODEL, a simulated kernel"
    on_the_model
else
    say "The real cgroups of this host"
fi

if [ -n "$model" ]; then
    for controller in "${controllers[@]}"; do
        do_ pcont mount -o "$controller"
        mounted=("$controller" ${mounted[@]+"${mounted[@]}"})
    done
fi
