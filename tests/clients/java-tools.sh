# Kafka's command-line tools, on the JVM: sourced by who uses them. `$directory` is the caller's.

cat >"$directory/log4j2.properties" <<'END'
appender.e.type=Console
appender.e.name=E
appender.e.target=SYSTEM_ERR
appender.e.layout.type=PatternLayout
appender.e.layout.pattern=%d %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.e.ref=E
END

why=
# told CHECK FUNCTION
told() {
    why=
    if "$2"; then echo "ok $1"; else echo "failed $1: ${why:-see the log}"; fi
}
fails() {
    why=$*
    return 1
}

# tool CLASS ARGUMENTS...: one of Kafka's tools, for a minute at most.
tool() {
    local class=$1
    shift
    timeout --foreground "${TOOL_SECONDS:-60}" java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256M \
        -Dlog4j2.configurationFile="$directory/log4j2.properties" \
        -cp "$CLIENTS_CACHE/java/lib/*" "$class" "$@"
}
topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
console_consumer() { tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" "$@"; }
