#!/usr/bin/env bash
# Kafka Connect, standalone: a file's lines go to a topic, and a topic's to a file.
set -uo pipefail

directory=$(mktemp -d)
worker=
trap '[ -z "$worker" ] || kill "$worker" 2>/dev/null; wait; rm -rf "$directory"' EXIT
cat >"$directory/worker.properties" <<END
bootstrap.servers=$BOOTSTRAP
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=$directory/offsets
offset.flush.interval.ms=500
listeners=http://127.0.0.1:0
END
cat >"$directory/source.properties" <<END
name=from-file
connector.class=FileStreamSource
tasks.max=1
file=$directory/in
topic=connect
END
cat >"$directory/sink.properties" <<END
name=to-file
connector.class=FileStreamSink
tasks.max=1
file=$directory/out
topics=connect
consumer.override.auto.offset.reset=earliest
consumer.override.metadata.max.age.ms=1000
END
cat >"$directory/log4j2.properties" <<'END'
appender.e.type=Console
appender.e.name=E
appender.e.target=SYSTEM_ERR
appender.e.layout.type=PatternLayout
appender.e.layout.pattern=%d %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.e.ref=E
END

start() {
    java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512M \
        -Dlog4j2.configurationFile="$directory/log4j2.properties" -cp "$CLIENTS_CACHE/java/lib/*" \
        org.apache.kafka.connect.cli.ConnectStandalone \
        "$directory/worker.properties" "$directory/source.properties" "$directory/sink.properties" >&2 &
    worker=$!
}

# waits_for SECONDS COMMAND...: it fails early if the worker ends.
waits_for() {
    for ((tries = 0; tries < $1 * 10; tries++)); do
        "${@:2}" && return
        kill -0 "$worker" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
lines() { seq -f 'line %g' "$1" "$2"; }
topic_has() {
    kcat -b "$BOOTSTRAP" -C -q -e -o beginning -t connect 2>/dev/null | sort -u >"$directory/topic"
    lines 0 "$1" | sort | cmp -s - "$directory/topic"
}
file_has() { lines 0 "$1" | sort | cmp -s - <(sort "$directory/out" 2>/dev/null); }

lines 0 199 >"$directory/in"
start
if waits_for 60 topic_has 199; then
    echo "ok file-to-topic"
else
    echo "failed file-to-topic: $(wc -l <"$directory/topic") of 200 lines are in the topic"
fi
if waits_for 30 file_has 199; then
    # Stopped and started again it goes on where it was, in the file and in the topic.
    kill "$worker"
    wait "$worker"
    lines 200 299 >>"$directory/in"
    start
    if waits_for 60 file_has 299; then
        echo "ok topic-to-file"
    else
        echo "failed topic-to-file: after a restart $(wc -l <"$directory/out") lines of 300 are in the file"
    fi
else
    echo "failed topic-to-file: $(wc -l <"$directory/out") of 200 lines are in the file"
fi
