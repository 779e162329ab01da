# A cluster of three nodes: sourced by `run`, and by `secured.sh` for one of its own.

export CLUSTER=$work/cluster # where `node.sh` finds each node's process id and command
export NODE=$here/node.sh
built=${CARGO_TARGET_DIR:-$root/target}/release
cluster_pid=

build_cluster() {
    (cd "$root" && cargo build --release --locked --quiet -p millstream -p millstream-examples --bins --example cluster)
}

# Whether nobody listens at a port of 127.0.0.1, over TCP or UDP.
is_free() {
    local hex
    hex=$(printf ':%04X ' "$1")
    ! grep -qi "^ *[0-9]*: [0-9A-F]*$hex" /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6
}

# A base port whose nodes find all of theirs free, and one more each. Below the ports that a system gives by itself to clients.
free_base_port() {
    local base port
    for _ in {1..50}; do
        base=$((20000 + RANDOM % 12000))
        for port in $base $((base + 10)) $((base + 20)); do
            is_free "$port" && is_free $((port + 1)) && is_free $((port + 2)) || continue 2
        done
        echo "$base"
        return
    done
    echo "no free ports between 20000 and 32000" >&2
    return 1
}

# start_cluster [ARGUMENT...]: with more arguments of the example, if any.
start_cluster() {
    local base node
    base=$(free_base_port)
    mkdir -p "$CLUSTER"
    "$built/examples/cluster" --nodes 3 --base-port "$base" \
        --data-dir "$CLUSTER/data" "$@" >"$CLUSTER/out" 2>&1 </dev/null &
    cluster_pid=$!
    for ((tries = 0; ; tries++)); do
        grep -q '^clients: ' "$CLUSTER/out" && break
        kill -0 "$cluster_pid" 2>/dev/null && [ "$tries" -lt 900 ] || {
            cat "$CLUSTER/out" >&2
            echo "the cluster did not start" >&2
            return 1
        }
        sleep 0.1
    done
    # Each node has two lines: its process id and addresses, and the command that starts it alone.
    for node in 1 2 3; do
        sed -n "s/^node $node  pid \([0-9]*\) .*/\1/p" "$CLUSTER/out" >"$CLUSTER/$node.pid"
        sed -n "s/^node $node  pid .* http \([0-9.:]*\)$/\1/p" "$CLUSTER/out" >"$CLUSTER/$node.http"
        sed -n "/^node $node  pid /{n;s/^ *//p}" "$CLUSTER/out" >"$CLUSTER/$node.command"
    done
    export BOOTSTRAP="127.0.0.1:$base,127.0.0.1:$((base + 10)),127.0.0.1:$((base + 20))"
}

# Whatever of it does not end, the rest is ended too.
stop_cluster() {
    local node
    [ -n "$cluster_pid" ] || return 0
    kill "$cluster_pid" 2>/dev/null || true
    for node in 1 2 3; do
        [ ! -s "$CLUSTER/$node.pid" ] || "$NODE" stop "$node" || true
    done
    wait "$cluster_pid" 2>/dev/null || true
    end_rest
    cluster_pid=
}

# Ends nodes of this cluster of which nobody was told: it may be stopped while it starts.
end_rest() {
    local process words
    for process in /proc/[0-9]*; do
        mapfile -d '' -t words <"$process/cmdline" || continue
        [[ "${words[*]}" = *"$CLUSTER/data"* ]] || continue
        case $(readlink "$process/exe") in
        */cluster | */cluster' (deleted)') kill -9 "${process#/proc/}" || true ;;
        esac
    done 2>/dev/null
}

# metric NAME: its sum over series and nodes; fails where a node does not tell.
metric() {
    local node
    for node in 1 2 3; do
        curl -sf --max-time 5 "http://$(cat "$CLUSTER/$node.http")/metrics" || return 1
    done | awk -v name="$1" '$1 == name || index($1, name "{") == 1 { sum += $2 } END { print sum + 0 }'
}

# Starts what a client left dead, and waits until every partition has all of its replicas in sync.
whole_cluster() {
    local node tries
    for node in 1 2 3; do
        "$NODE" is-alive "$node" || "$NODE" start "$node" || return 1
    done
    for ((tries = 0; tries < 300; tries++)); do
        [ "$(metric millstream_partitions_under_replicated)" = 0 ] && return 0
        sleep 0.2
    done
    return 1
}

# Whether the nodes serve an API, by its key: a plain ApiVersions request of version 0 and its answer.
serves() {
    local address=${BOOTSTRAP%%,*} bytes
    exec 9<>"/dev/tcp/${address%:*}/${address#*:}"
    printf '\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff' >&9
    bytes=$(head -c 4 <&9 | od -An -tu1)
    # shellcheck disable=SC2086
    set -- "$1" $bytes
    # After correlation id, error and count: key, lowest and highest version, two bytes each.
    head -c $((($2 << 24) + ($3 << 16) + ($4 << 8) + $5)) <&9 | od -An -v -tu1 -w2 -j10 |
        awk -v key="$1" 'NR % 3 == 1 && $1 * 256 + $2 == key { found = 1 } END { print found ? "yes" : "no" }'
    exec 9>&-
}

# What the nodes say went wrong inside of them; succeeds where there is nothing.
complaints() {
    local broken
    broken=$(metric millstream_invariant_broken_total) || { echo "a node does not answer" && return 1; }
    [ "$broken" = 0 ] || { echo "$broken broken invariants" && return 1; }
    ! grep -hm 1 'panicked at' "$CLUSTER"/data/node-*.log "$CLUSTER"/*.log 2>/dev/null
}
