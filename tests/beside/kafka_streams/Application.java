import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * The topologies in Kafka Streams, exactly once, with RocksDB. `tests/src/bin/streams-beside.rs` has the same ones, and is told
 * the same on its standard input: `start TOPOLOGY ROUND CACHE_BYTES`, `stop`. It answers `running` and `stopped`.
 */
public final class Application {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<Long> NUMBER = Serdes.Long();

    private static Topology topology(String name, String round) {
        var builder = new StreamsBuilder();
        var in = "in-" + round;
        var out = "out-" + round;
        switch (name) {
            case "words" -> builder.stream(in, Consumed.with(TEXT, TEXT))
                    .flatMapValues(line -> Arrays.asList(line.split(" ")))
                    .groupBy((key, word) -> word, Grouped.with("words", TEXT, TEXT))
                    .count(Materialized.as("counts"))
                    .toStream()
                    .to(out, Produced.with(TEXT, NUMBER));
            case "windows" -> builder.stream(in, Consumed.with(TEXT, NUMBER))
                    .groupByKey(Grouped.with("readings", TEXT, NUMBER))
                    .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(5)))
                    .aggregate(() -> 0L, (key, value, sum) -> sum + value, Materialized.with(TEXT, NUMBER))
                    .toStream((key, sum) -> key.key() + "@" + key.window().start())
                    .to(out, Produced.with(TEXT, NUMBER));
            case "pages" -> builder.stream(in, Consumed.with(TEXT, Serdes.ByteArray()))
                    .groupByKey(Grouped.with("pages", TEXT, Serdes.ByteArray()))
                    .reduce((old, page) -> page, Materialized.as("newest"))
                    .toStream()
                    .mapValues(page -> (long) page.length)
                    .to(out, Produced.with(TEXT, NUMBER));
            default -> throw new IllegalArgumentException(name);
        }
        return builder.build();
    }

    public static void main(String[] arguments) throws Exception {
        var settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[1]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put("consumer.auto.offset.reset", "earliest");
        var orders = new BufferedReader(new InputStreamReader(System.in));
        KafkaStreams streams = null;
        for (var order = orders.readLine(); order != null; order = orders.readLine()) {
            var words = order.split(" ");
            if (words[0].equals("start")) {
                settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "beside-" + words[2]);
                settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, words[3]);
                streams = new KafkaStreams(topology(words[1], words[2]), settings);
                streams.start();
                System.out.println("running");
            } else if (streams != null) {
                streams.close(Duration.ofSeconds(60));
                System.out.println("stopped");
            }
        }
    }
}
