#!/usr/bin/env bash
# Copies 100,000 records in transactions, by Kafka's own copier, while the nodes are killed in turn: whoever leads and
# coordinates. A copier that is fenced or gives up is begun anew. Readers of what is committed see each record once.
set -uo pipefail

directory=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$directory"' EXIT
. "$(dirname "${BASH_SOURCE[0]}")/java-tools.sh"

records=100000

made() {
    local topic
    for topic in copy-from copy-to; do
        topics --create --topic "$topic" --partitions 1 --replication-factor 3 || fails "no $topic" || return
    done
    tool org.apache.kafka.tools.VerifiableProducer --bootstrap-server "$BOOTSTRAP" --topic copy-from \
        --max-messages "$records" --acks -1 >"$directory/sent" || fails "the producer failed" || return
    [ "$(grep -c producer_send_success "$directory/sent")" = "$records" ] || fails "not all were acknowledged"
}

# Kills one node after the other, for as long as it is let; each comes back before the next goes.
kill_in_turn() {
    local node=1
    while [ -e "$directory/going-on" ]; do
        "$NODE" kill "$node" && sleep 1 && "$NODE" start "$node" || return
        echo "$node" >>"$directory/killed"
        node=$((node % 3 + 1))
        sleep 2
    done
}

copied() {
    local tries left killing
    touch "$directory/going-on"
    kill_in_turn &
    killing=$!
    for ((tries = 1; tries <= 20; tries++)); do
        TOOL_SECONDS=120 tool org.apache.kafka.tools.TransactionalMessageCopier --broker-list "$BOOTSTRAP" \
            --input-topic copy-from --input-partition 0 --output-topic copy-to --transactional-id copier \
            --consumer-group copier --transaction-size 500 --enable-random-aborts >"$directory/copier" && break
        echo "the copier is begun anew" >&2
    done
    rm "$directory/going-on"
    wait "$killing" || fails "a node did not come back" || return
    left=$(tail -n 1 "$directory/copier" | grep -o '"remaining":[0-9]*' | cut -d: -f2)
    [ "${left:-}" = 0 ] || fails "the copier left ${left:-what it does not say}" || return
    [ "$(wc -l <"$directory/killed")" -ge 3 ] || fails "only $(wc -l <"$directory/killed") nodes were killed"
}

# The reader goes on to the end: a last stable offset that stands still would stop it before.
read_once() {
    console_consumer --topic copy-to --from-beginning --timeout-ms 10000 \
        --command-property isolation.level=read_committed >"$directory/read"
    local read different
    read=$(wc -l <"$directory/read")
    different=$(sort -u "$directory/read" | wc -l)
    [ "$read:$different" = "$records:$records" ] || fails "$read records were read, $different of them different"
}

told sent made && told copied copied && told read-once read_once
