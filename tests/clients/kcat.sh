#!/usr/bin/env bash
# kcat. It makes no topics itself: writing to one makes it.
set -uo pipefail

why=
# told CHECK FUNCTION
told() {
    why=
    if "$2" "${@:3}"; then echo "ok $1"; else echo "failed $1: ${why:-see above}"; fi
}
fails() {
    why=$*
    return 1
}
directory=$(mktemp -d)
children=()
trap 'kill "${children[@]}" 2>/dev/null; rm -rf "$directory"' EXIT

write() { kcat -b "$BOOTSTRAP" -P -X acks=all "$@"; }
# All that is in a topic now, a line a record.
read_all() { kcat -b "$BOOTSTRAP" -C -q -e -o beginning "$@"; }
same() { cmp -s "$1" "$2" || fails "$3: $(wc -l <"$1") lines were sent, $(wc -l <"$2") read, or others"; }

# Keyed lines that compress well.
lines() { for ((i = $1; i < $2; i++)); do echo "k$((i % 17)):kcat $i flight flight flight flight flight flight"; done; }

admin() {
    echo one | write -t kcat-admin || fails "nothing could be written" || return
    kcat -b "$BOOTSTRAP" -L >"$directory/list" || fails "-L" || return
    [ "$(grep -c '^  broker ' "$directory/list")" = 3 ] || fails "not three brokers in -L" || return
    kcat -b "$BOOTSTRAP" -L -t kcat-admin >"$directory/list"
    grep -q 'topic "kcat-admin" with 6 partitions' "$directory/list" || fails "the topic in -L" || return
    [ "$(grep -Ec 'leader [123], replicas: [123],[123],[123]' "$directory/list")" = 6 ] ||
        fails "not a leader and three replicas for each partition"
}

codec() {
    lines 0 1000 >"$directory/sent"
    write -t "kcat-$1" -z "$1" -K : -H from=kcat "$directory/sent" -l || fails "-P" || return
    read_all -t "kcat-$1" -K : >"$directory/read" || fails "-C" || return
    # Within a key the order holds.
    sort -s -t: -k1,1 "$directory/sent" >"$directory/a"
    sort -s -t: -k1,1 "$directory/read" >"$directory/b"
    same "$directory/a" "$directory/b" "$1" || return
    read_all -t "kcat-$1" -c 1 -f '%h\n' | grep -qx 'from=kcat' || fails "the header is not there"
}

# Members write what they read to a file, a line a record.
member() {
    kcat -b "$BOOTSTRAP" -G kcat-group -u -q -X auto.offset.reset=earliest -X auto.commit.interval.ms=100 \
        -X topic.metadata.refresh.interval.ms=1000 kcat-members >"$directory/member-$1" 2>"$directory/member-$1.err" &
    children+=($!)
}
# waits_until SECONDS COMMAND...
waits_until() {
    for ((tries = 0; tries < $1 * 10; tries++)); do
        "${@:2}" && return
        sleep 0.1
    done
    return 1
}
has_read() { [ "$(cat "$directory"/member-[12] | wc -l)" -ge "$1" ]; }
member_has_read() { [ "$(wc -l <"$directory/member-$1")" -ge "$2" ]; }

# One member reads; with the second, each record goes to one of the two; without the first, all to the second.
group() {
    lines 0 300 | write -t kcat-members -K : || fails "-P" || return
    member 1
    waits_until 20 has_read 300 || fails "the first member did not read all" || return
    # Its offsets are committed by the time that another may take its place.
    sleep 1
    member 2
    local more
    for ((more = 300; more < 10300; more += 100)); do
        lines $more $((more + 100)) | write -t kcat-members -K : || fails "-P" || return
        member_has_read 2 1 && break
        sleep 0.2
    done
    more=$((more + 100))
    waits_until 20 has_read $more || fails "two members read $(cat "$directory"/member-[12] | wc -l) of $more" || return
    member_has_read 2 1 || fails "the second member read nothing" || return
    kill "${children[0]}" && wait "${children[0]}"
    lines $more $((more + 100)) | write -t kcat-members -K : || fails "-P" || return
    more=$((more + 100))
    waits_until 20 has_read $more || fails "the second member did not take over" || return
    lines 0 $more | cut -d: -f2 | sort >"$directory/a"
    sort "$directory"/member-[12] >"$directory/b"
    same "$directory/a" "$directory/b" "each record to one member"
}

# `-o s@TIME` begins at the first record that is not older.
seek_by_time() {
    seq 0 9 | write -t kcat-time -p 0 || fails "-P" || return
    sleep 0.05
    local then
    then=$(date +%s%3N)
    sleep 0.05
    seq 10 19 | write -t kcat-time -p 0 || fails "-P" || return
    kcat -b "$BOOTSTRAP" -C -q -e -t kcat-time -p 0 -o "s@$then" >"$directory/read" || fails "-C" || return
    seq 10 19 >"$directory/sent"
    same "$directory/sent" "$directory/read" "from $then on" || return
    kcat -b "$BOOTSTRAP" -Q -t kcat-time:0:"$then" | grep -q 'offset 10$' || fails "-Q gives another offset"
}

leader_of() { kcat -b "$BOOTSTRAP" -L -t "$1" | sed -n 's/.*partition 0, leader \([0-9]*\),.*/\1/p'; }

# kcat ends without an error only if each line was acknowledged.
leader_killed() {
    echo first | write -t kcat-kill -p 0 || fails "-P" || return
    local leader
    leader=$(leader_of kcat-kill)
    for ((i = 0; i < 1500; i++)); do
        echo "line $i"
        sleep 0.003
    done | write -t kcat-kill -p 0 -X enable.idempotence=true -X linger.ms=5 &
    local writer=$!
    children+=("$writer")
    sleep 1.5
    kill -0 "$writer" || fails "the writer ended before the kill" || return
    "$NODE" kill "$leader" || fails "node $leader could not be killed" || return
    sleep 1.5
    kill -0 "$writer" || fails "the writer ended before the start" || return
    "$NODE" start "$leader" || fails "node $leader did not start" || return
    wait "$writer" || fails "the writer was not acknowledged everything" || return
    [ "$(leader_of kcat-kill)" != "" ] || fails "no leader" || return
    {
        echo first
        for ((i = 0; i < 1500; i++)); do echo "line $i"; done
    } >"$directory/sent"
    read_all -t kcat-kill -p 0 >"$directory/read" || fails "-C" || return
    same "$directory/sent" "$directory/read" "each line once and in order"
}

told admin admin
for name in none gzip snappy lz4 zstd; do told "$name" codec "$name"; done
told group group
told time seek_by_time
told kill leader_killed
