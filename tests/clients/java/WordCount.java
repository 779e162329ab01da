import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams' word count, exactly once: its process is killed and begun anew, and a node that serves it is killed too.
 * Called with a directory it is that process, else the check of it.
 */
public final class WordCount extends Checks {
    private static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final String LINES = "words-lines";
    private static final String COUNTS = "words-counts";
    private static final int PARTITIONS = 3;
    private static final int PER_ROUND = 2000;
    private static final List<String> WORDS = List.of("a", "plane", "leaves", "and", "another", "comes", "late");

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            count(arguments[0]);
            return;
        }
        for (String round : List.of("count", "killed", "moved")) {
            try {
                check(round);
                System.out.println("ok " + round);
            } catch (Exception | AssertionError error) {
                error.printStackTrace();
                System.out.println("failed " + round + ": " + error.toString().replace('\n', ' '));
                break;
            }
        }
        if (application != null) {
            application.destroyForcibly().waitFor();
        }
        deleteState();
    }

    /** The application, until it is killed. Every change of a count is written: none is put together with others. */
    private static void count(String state) throws InterruptedException {
        var settings = new Properties();
        settings.putAll(Map.of(
                StreamsConfig.APPLICATION_ID_CONFIG, "words",
                StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP,
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
                StreamsConfig.STATE_DIR_CONFIG, state,
                StreamsConfig.REPLICATION_FACTOR_CONFIG, 3,
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2,
                StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0,
                StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100,
                "consumer.auto.offset.reset", "earliest",
                "consumer.session.timeout.ms", 6000));
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        var builder = new StreamsBuilder();
        builder.<String, String>stream(LINES)
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
                .count()
                .toStream()
                .to(COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
        var streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        Thread.currentThread().join();
    }

    private static Path state;
    private static Process application;
    private static int written;

    private static void check(String round) throws Exception {
        switch (round) {
            case "count" -> {
                make();
                state = Files.createTempDirectory("words");
                begin();
            }
            case "killed" -> {
                writeAndSeeCounted();
                application.destroyForcibly().waitFor();
                begin();
            }
            default -> {
                write();
                node("kill", 2);
                // Without what it had kept: it reads its changelogs again.
                application.destroyForcibly().waitFor();
                deleteState();
                state = Files.createTempDirectory("words");
                begin();
            }
        }
        write();
        counted();
        if (round.equals("moved")) {
            node("start", 2);
        }
    }

    private static void begin() throws Exception {
        application = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-cp",
                        System.getProperty("java.class.path"),
                        "WordCount",
                        state.toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(Path.of(System.getenv("CLUSTER"), "words.log").toFile()))
                .start();
    }

    private static void deleteState() throws Exception {
        if (state == null) {
            return;
        }
        try (var files = Files.walk(state)) {
            for (Path file : files.sorted((one, other) -> other.compareTo(one)).toList()) {
                Files.deleteIfExists(file);
            }
        }
    }

    private static void make() throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP))) {
            for (String topic : List.of(LINES, COUNTS)) {
                try {
                    admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 3))).all().get();
                } catch (java.util.concurrent.ExecutionException error) {
                    if (!(error.getCause() instanceof TopicExistsException)) {
                        throw error;
                    }
                }
            }
        }
    }

    /** Lines of seven words; each word as often as the others. */
    private static void write() {
        Map<String, Object> settings = Map.of("bootstrap.servers", BOOTSTRAP, "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int end = written + PER_ROUND; written < end; written++) {
                producer.send(new ProducerRecord<>(LINES, Integer.toString(written), String.join(" ", WORDS)));
            }
        }
    }

    private static KafkaConsumer<String, Long> reader(String isolation) {
        Map<String, Object> settings = Map.of("bootstrap.servers", BOOTSTRAP, "isolation.level", isolation);
        var reader = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer());
        reader.assign(IntStream.range(0, PARTITIONS).mapToObj(index -> new TopicPartition(COUNTS, index)).toList());
        return reader;
    }

    /** Returns in the midst of the application's work on these lines: once it has written of them, committed or not. */
    private static void writeAndSeeCounted() {
        try (var reader = reader("read_uncommitted")) {
            reader.seekToEnd(reader.assignment());
            // Where that is must be known before there is more.
            reader.assignment().forEach(reader::position);
            write();
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (reader.poll(Duration.ofMillis(50)).isEmpty()) {
                must(System.nanoTime() < end, "nothing was counted within 60 s");
            }
        }
    }

    /** Each word's count goes from one to the number of lines, each once and in order. */
    private static void counted() {
        var last = new HashMap<String, Long>();
        var wrong = new ArrayList<ConsumerRecord<String, Long>>();
        try (var reader = reader("read_committed")) {
            reader.seekToBeginning(reader.assignment());
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            int quiet = 0;
            while (quiet < 5) {
                must(System.nanoTime() < end, "within 60 s " + last + " were counted of " + written);
                for (var record : reader.poll(Duration.ofMillis(200))) {
                    if (record.value() != last.getOrDefault(record.key(), 0L) + 1) {
                        wrong.add(record);
                    }
                    last.put(record.key(), record.value());
                }
                // What comes beyond would come within a second.
                quiet = WORDS.stream().allMatch(word -> last.getOrDefault(word, 0L) >= written) ? quiet + 1 : 0;
            }
        }
        must(wrong.isEmpty(), wrong.size() + " counts out of turn, the first: " + (wrong.isEmpty() ? "" : wrong.get(0)));
        must(last.size() == WORDS.size(), "other words: " + last.keySet());
        must(last.values().stream().allMatch(count -> count == written), last + " instead of " + written);
    }

    private static void node(String action, int number) throws Exception {
        var process = new ProcessBuilder(System.getenv("NODE"), action, Integer.toString(number)).inheritIO().start();
        must(process.waitFor() == 0, action + " of node " + number);
    }
}
