# What the demos share, for bash: how a story is told, on what it is played, and that nothing is left.
# A demo sets `tie`, the mount of its hierarchy $name; `controllers` that the model has to have
# mounted for it, and `containers` that it makes.
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
    for controller in "${controllers[@]}"; do
        do_ pcont mount -o "$controller"
        mounted=("$controller" ${mounted[@]+"${mounted[@]}"})
    done
fi
