#!/bin/sh
# wrapper.sh LIMIT [TASK]: runs a bundle on a node, and ends as its run.sh ended: with its exit status, or by its signal.
#
# The working directory is fresh and holds bundle.tar.gz, launch.sh and, if the job has them, input and parameters;
# output.tar.gz is put beside them, for a task of a job array, which TASK is the index of, output.tar.gz.TASK.  LIMIT is how many seconds run.sh may take, 0 for as many as it likes.  When they are over it gets SIGTERM,
# 10 seconds later SIGKILL, and the wrapper ends by SIGXCPU.  SIGTERM sent to the wrapper goes on to run.sh, now and
# then twice.
# When the wrapper itself fails, it says why on stderr and exits with 125.
#
# A node needs POSIX sh, tar, gzip and awk.  If it has the env and timeout of GNU coreutils, SIGINT and SIGQUIT reach run.sh
# (a shell has them ignored in what it runs in the background), and SIGTERM reaches the programs that run.sh waits for.
#
# Why awk: a shell cannot tell a program that was killed from one that exited with 137, the system() of awk can: it returns
# 256 plus the signal, or 512 plus the signal after a core dump.  That of busybox and of old gawk cannot either; then a run
# that a signal ended exits with 128 plus the signal.  And bash ignores SIGQUIT, so only what it becomes can end by it.
#
# Why control/stop: SIGTERM may come before the process that is to get it.  The trap writes stop, then looks for pid; the
# process writes pid, then looks for stop; so at least one of them sees the other.
set -u
ulimit -c 0
limit=${1:-0}
task=${2:-}

complain() {
    echo "modabatchd: $1" >&2
}

# The process group that timeout made, or without timeout the one process.
signal() {
    pid=$(cat control/pid 2>/dev/null) || return
    kill -"$1" -"$pid" 2>/dev/null || kill -"$1" "$pid" 2>/dev/null
}

stop() {
    interrupted=yes
    : >control/stop
    [ ! -s control/pid ] || signal TERM
}

# GNU's timeout makes a process group of its own, and with 0 does nothing else; that of busybox would end at once.
prefix() {
    if env --default-signal=INT,QUIT true 2>/dev/null; then printf 'env --default-signal=INT,QUIT '; fi
    if timeout --preserve-status 0 true 2>/dev/null; then printf 'timeout 0 '; fi
}

run() {
    unset MODACLOUDS_BATCH_INPUT
    if [ -f input ]; then export MODACLOUDS_BATCH_INPUT="$PWD/input"; fi
    export MODACLOUDS_BATCH_OUTPUT="$PWD/output" MODACLOUDS_BATCH_SCRATCH_DIRECTORY="$PWD/scratch"
    unset MODACLOUDS_BATCH_TASK_INDEX
    if [ "$task" ]; then export MODACLOUDS_BATCH_TASK_INDEX="$task"; fi
    command='echo $$ >control/pid; [ ! -e control/stop ] || kill -TERM $$; exec '"$(prefix)sh ./launch.sh"
    if [ "$(awk 'BEGIN { print system("kill -9 $$") }' 2>/dev/null)" = 265 ]; then
        exec awk -v command="$command" 'BEGIN { print system(command) >"control/status" }'
    fi
    sh -c "$command"
    echo $? >control/status
}

# When run.sh has ended in time, control/over is there, and the watcher is to go: by TERM, which a shell that has just been
# forked may lose, so it is sent until control/unwatched is there.  Its sleep gets KILL, which is never lost.
watch() {
    before=$!
    trap '[ $! = $before ] || kill -KILL $! 2>/dev/null; : >control/unwatched; exit' TERM
    sleep "$limit" & wait $!
    [ -e control/over ] || {
        : >control/exceeded
        signal TERM
        sleep 10 & wait $!
        signal KILL
    }
    trap : TERM
    : >control/unwatched
}

unwatch() {
    : >control/over
    until [ -e control/unwatched ]; do
        kill -TERM "$watcher" 2>/dev/null || break
        sleep 0.02 2>/dev/null || sleep 1
    done
    wait "$watcher" 2>/dev/null
}

# A trap ends "wait" before its time.
wait_for() {
    interrupted=yes
    while [ "$interrupted" ]; do
        interrupted=
        wait "$1" 2>/dev/null
    done
}

# An exit status of 1 may mean that a file changed meanwhile, which leaves a good archive.
pack() {
    mkdir -p output
    chmod -R u+rwX output 2>/dev/null
    tar -czf packing output || { [ $? = 1 ] && tar -tzf packing >/dev/null; } || return
    mv packing "output.tar.gz${task:+.$task}"
}

clean() {
    chmod -R u+rwX work scratch 2>/dev/null
    rm -rf work output scratch control packing
}

end_by() {
    trap - TERM
    exec awk -v signal="$1" -v pid=$$ 'BEGIN { ("kill -" signal " " pid) | getline; exit 128 + signal }'
}

# The trap needs control/; until it is there, SIGTERM just ends us.
mkdir work output scratch control && made=yes || made=
trap stop TERM
interrupted=
if ! { [ "$made" ] && tar -xzof bundle.tar.gz -C work; }; then
    complain "the bundle could not be unpacked"
    trap : TERM
    clean
    exit 125
fi
run </dev/null &
runner=$!
if [ "$limit" -gt 0 ]; then watch </dev/null >/dev/null 2>&1 & watcher=$!; else watcher=; fi
wait_for "$runner"
trap : TERM
signal KILL
status=$(cat control/status 2>/dev/null)
[ ! -e control/exceeded ] || status=$((256 + 24))
[ -z "$watcher" ] || unwatch
if ! pack; then
    complain "the output could not be packed"
    status=125
fi
clean
if [ -z "$status" ]; then
    complain "the process that watches over run.sh was killed"
    exit 125
fi
[ "$status" -lt 256 ] || end_by $((status % 256))
exit "$status"
