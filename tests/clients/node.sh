#!/usr/bin/env bash
# node.sh kill|start|stop|is-alive N: one node of the cluster at $CLUSTER.
set -euo pipefail
action=$1
of=${CLUSTER:?}/$2

# A process that has ended and is not yet waited for has no program any more.
is_alive() { readlink "/proc/$(cat "$of.pid")/exe" >/dev/null 2>&1; }

# waits_until SECONDS COMMAND...
waits_until() {
    for ((tries = 0; tries < $1 * 20; tries++)); do
        "${@:2}" && return
        sleep 0.05
    done
    echo "node ${of##*/}: not within $1 s: ${*:2}" >&2
    return 1
}

is_dead() { ! is_alive; }
is_ready() { curl -sf --max-time 2 -o /dev/null "http://$(cat "$of.http")/readyz"; }

case $action in
kill)
    # One that has ended is not there to be killed.
    kill -9 "$(cat "$of.pid")" 2>/dev/null || true
    waits_until 10 is_dead
    ;;
start)
    # In a session of its own: it outlives the client that wished it.
    setsid bash -c "exec $(cat "$of.command")" >>"$of.log" 2>&1 </dev/null &
    echo $! >"$of.pid"
    waits_until 60 is_ready
    ;;
stop)
    if is_alive; then
        kill "$(cat "$of.pid")" 2>/dev/null || true
        waits_until 20 is_dead 2>/dev/null || kill -9 "$(cat "$of.pid")" 2>/dev/null || true
    fi
    ;;
is-alive) is_alive ;;
*)
    echo "node.sh kill|start|stop|is-alive N" >&2
    exit 2
    ;;
esac
