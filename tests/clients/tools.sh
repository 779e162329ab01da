#!/usr/bin/env bash
# Kafka's command-line tools, on the JVM.
set -uo pipefail

directory=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$directory"' EXIT
. "$(dirname "${BASH_SOURCE[0]}")/java-tools.sh"

configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" --entity-type topics "$@"; }
console_producer() { tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" "$@"; }
groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
offsets() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$BOOTSTRAP" "$@"; }
transactions() { tool org.apache.kafka.tools.TransactionsCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

kafka_topics() {
    topics --create --topic tools-topics --partitions 2 --replication-factor 3 || fails "--create" || return
    topics --describe --topic tools-topics >"$directory/told" || fails "--describe" || return
    grep -q 'PartitionCount: 2.*ReplicationFactor: 3' "$directory/told" || fails "--describe tells else" || return
    topics --alter --topic tools-topics --partitions 4 || fails "--alter" || return
    topics --delete --topic tools-topics || fails "--delete" || return
    ! topics --list | grep -qx tools-topics || fails "deleted, still listed" || return
    topics --create --topic tools-placed --replica-assignment 3:1,2:3 || fails "--replica-assignment" || return
    topics --alter --topic tools-placed --partitions 3 --replica-assignment 3:1,2:3,1:2 ||
        fails "--alter with --replica-assignment" || return
    topics --describe --topic tools-placed >"$directory/told" || fails "--describe of what was placed" || return
    [ "$(grep -o 'Replicas: [0-9,]*' "$directory/told" | tr '\n' ' ')" = 'Replicas: 3,1 Replicas: 2,3 Replicas: 1,2 ' ] ||
        fails "replicas are not where they were placed: $(cat "$directory/told")"
}

kafka_configs() {
    topics --create --topic tools-configs --partitions 1 --replication-factor 3 || fails "no topic" || return
    configs --alter --entity-name tools-configs --add-config retention.ms=86400000,max.message.bytes=2000000 ||
        fails "--add-config" || return
    configs --alter --entity-name tools-configs --delete-config max.message.bytes || fails "--delete-config" || return
    configs --describe --entity-name tools-configs >"$directory/told" || fails "--describe" || return
    grep -q 'retention.ms=86400000' "$directory/told" || fails "retention.ms is not as it was set" || return
    ! grep -q 'max.message.bytes=2000000' "$directory/told" || fails "max.message.bytes is still set"
}

# A topic of 1 partition, 200 lines, all of which a group has read.
console() {
    topics --create --topic tools-console --partitions 1 --replication-factor 3 || fails "no topic" || return
    for ((i = 0; i < 200; i++)); do echo "key $((i % 7))|line $i"; done >"$directory/sent"
    console_producer --topic tools-console --reader-property parse.key=true --reader-property 'key.separator=|' \
        --command-property compression.type=lz4 <"$directory/sent" || fails "console-producer" || return
    console_consumer --topic tools-console --group tools --from-beginning --max-messages 200 \
        --formatter-property print.key=true --formatter-property 'key.separator=|' >"$directory/read" ||
        fails "console-consumer" || return
    cmp -s "$directory/sent" "$directory/read" || fails "others were read than were sent"
}

consumer_groups() {
    groups --list | grep -qx tools || fails "--list" || return
    groups --describe --group tools >"$directory/told" || fails "--describe" || return
    # Group, topic, partition, offset, end, lag.
    awk '$2 == "tools-console" && $4 == 200 && $5 == 200 && $6 == 0 { found = 1 } END { exit !found }' "$directory/told" ||
        fails "--describe tells else: $(tail -n 1 "$directory/told")"
}

reset_offsets() {
    groups --group tools --topic tools-console --reset-offsets --to-offset 150 --execute || fails "--to-offset" || return
    console_consumer --topic tools-console --group tools --max-messages 50 >"$directory/read" || fails "a reader" || return
    [ "$(head -n 1 "$directory/read")" = "line 150" ] || fails "read from $(head -n 1 "$directory/read") on" || return
    groups --group tools --topic tools-console --reset-offsets --to-earliest --execute || fails "--to-earliest" || return
    groups --group tools --topic tools-console --reset-offsets --to-datetime 2020-01-01T00:00:00.000 --execute ||
        fails "--to-datetime" || return
    groups --delete --group tools || fails "--delete" || return
    ! groups --list | grep -qx tools || fails "deleted, still listed"
}

get_offsets() {
    offsets --topic tools-console --time -1 | grep -qx 'tools-console:0:200' || fails "the latest" || return
    offsets --topic tools-console --time -2 | grep -qx 'tools-console:0:0' || fails "the earliest" || return
    offsets --topic tools-console --time -3 | grep -Eqx 'tools-console:0:[0-9]+' || fails "that of the greatest timestamp"
}

producer_perf() {
    tool org.apache.kafka.tools.ProducerPerformance --topic tools-perf --num-records 50000 --record-size 200 \
        --throughput -1 --command-property "bootstrap.servers=$BOOTSTRAP" acks=all >"$directory/told" || fails "it failed" || return
    tail -n 1 "$directory/told" | grep -q '^50000 records sent' || fails "$(tail -n 1 "$directory/told")"
}

consumer_perf() {
    tool org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$BOOTSTRAP" --topic tools-perf \
        --num-records 50000 >"$directory/told" || fails "it failed" || return
    # The fifth column counts.
    awk -F', ' 'END { exit !($5 >= 50000) }' "$directory/told" || fails "$(tail -n 1 "$directory/told")"
}

verifiable() {
    tool org.apache.kafka.tools.VerifiableProducer --bootstrap-server "$BOOTSTRAP" --topic tools-verifiable \
        --max-messages 500 --acks -1 >"$directory/told" || fails "the producer failed" || return
    [ "$(grep -c producer_send_success "$directory/told")" = 500 ] || fails "not 500 were acknowledged" || return
    tool org.apache.kafka.tools.VerifiableConsumer --bootstrap-server "$BOOTSTRAP" --topic tools-verifiable \
        --group-id tools-verifiable --reset-policy earliest --max-messages 500 --verbose >"$directory/told" ||
        fails "the consumer failed" || return
    grep '"name":"record_data"' "$directory/told" | grep -o '"value":"[0-9]*"' | sort -u >"$directory/values"
    [ "$(wc -l <"$directory/values")" = 500 ] || fails "$(wc -l <"$directory/values") of 500 values were read"
}

# Replicas go to other nodes, and the tool sees it.
reassigned() {
    local tries
    reassign() { tool org.apache.kafka.tools.reassign.ReassignPartitionsCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
    topics --create --topic tools-moved --partitions 1 --replication-factor 2 || fails "no topic" || return
    echo '{"version":1,"partitions":[{"topic":"tools-moved","partition":0,"replicas":[3,2,1]}]}' >"$directory/plan"
    reassign --reassignment-json-file "$directory/plan" --execute >"$directory/told" || fails "execute" || return
    for ((tries = 0; tries < 10; tries++)); do
        reassign --reassignment-json-file "$directory/plan" --verify >"$directory/told" || fails "verify" || return
        grep -q 'tools-moved-0 is completed' "$directory/told" && break
    done
    topics --describe --topic tools-moved | grep -q 'Replicas: 3,2,1' || fails "the replicas are others"
}

# A copy in transactions of 20, read by one who waits for their ends.
copier() {
    topics --create --topic tools-copied --partitions 1 --replication-factor 3 || fails "no topic" || return
    tool org.apache.kafka.tools.TransactionalMessageCopier --broker-list "$BOOTSTRAP" --input-topic tools-console \
        --input-partition 0 --output-topic tools-copied --transactional-id tools-copier --consumer-group tools-copier \
        --transaction-size 20 --max-messages 200 >"$directory/told" || fails "it failed" || return
    console_consumer --topic tools-copied --from-beginning --max-messages 200 \
        --command-property isolation.level=read_committed >"$directory/read" || fails "console-consumer" || return
    cut -d'|' -f2 "$directory/sent" | cmp -s - "$directory/read" || fails "others were read than were copied"
}

list_of_transactions() {
    transactions list >"$directory/told" || fails "list" || return
    grep -q '^tools-copier' "$directory/told" || fails "the copier's is not in the list" || return
    transactions describe --transactional-id tools-copier | grep -q CompleteCommit || fails "describe"
}

told topics kafka_topics
told configs kafka_configs
told console console
told groups consumer_groups
told reset-offsets reset_offsets
told get-offsets get_offsets
told reassign reassigned
told producer-perf producer_perf
told consumer-perf consumer_perf
told verifiable verifiable
if [ "$TRANSACTIONS" = yes ]; then
    told copier copier
    told transactions list_of_transactions
fi
