import java.io.FileInputStream;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.ClusterAuthorizationException;
import org.apache.kafka.common.errors.GroupAuthorizationException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own client where one has to log in and may not do everything. Its argument is the directory of the files that say
 * how each user logs in.
 */
public final class Secured extends Checks {
    private static final String SOURCE = "secured-source";
    private static final String TARGET = "secured-target";
    private static final int RECORDS = 200;
    private static String directory;

    public static void main(String[] arguments) {
        directory = arguments[0];
        tell("allowed", Secured::allowed);
        tell("denied", Secured::denied);
        tell("wrong-password", Secured::wrongPassword);
    }

    /** It is refused with this very exception, whatever that is wrapped in. */
    private static void refused(Class<? extends Exception> with, Step step) throws Exception {
        try {
            step.run();
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            must(with.isInstance(cause), cause + " where it should be " + with.getSimpleName());
            return;
        }
        throw new AssertionError("not refused with " + with.getSimpleName());
    }

    private static Properties of(String user, Map<String, Object> settings) throws Exception {
        var all = new Properties();
        try (var file = new FileInputStream(directory + "/" + user + ".properties")) {
            all.load(file);
        }
        all.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        all.put("request.timeout.ms", 20_000);
        all.put("default.api.timeout.ms", 20_000);
        all.putAll(settings);
        return all;
    }

    private static Admin admin(String user) throws Exception {
        return Admin.create(of(user, Map.of()));
    }

    private static KafkaProducer<String, String> producer(String user, Map<String, Object> settings) throws Exception {
        return new KafkaProducer<>(of(user, settings), new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(String user, String group, String protocol) throws Exception {
        Map<String, Object> settings = Map.of(
                "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest",
                "enable.auto.commit", false, "isolation.level", "read_committed");
        return new KafkaConsumer<>(of(user, settings), new StringDeserializer(), new StringDeserializer());
    }

    private static Set<String> values() {
        return new TreeSet<>(IntStream.range(0, RECORDS).mapToObj(Integer::toString).toList());
    }

    /** Writes, copies in a transaction with the offsets of a group, and reads the copy by a group of the other protocol. */
    private static void allowed() throws Exception {
        try (var producer = producer("app", Map.of("acks", "all"))) {
            for (String value : values()) {
                producer.send(new ProducerRecord<>(SOURCE, value, value));
            }
        }
        try (var reader = consumer("app", "secured-copy", "classic");
                var writer = producer("app", Map.of("transactional.id", "secured-copy"))) {
            writer.initTransactions();
            reader.subscribe(List.of(SOURCE));
            writer.beginTransaction();
            for (String value : read(reader)) {
                writer.send(new ProducerRecord<>(TARGET, value, value));
            }
            var positions = new HashMap<TopicPartition, OffsetAndMetadata>();
            for (TopicPartition partition : reader.assignment()) {
                positions.put(partition, new OffsetAndMetadata(reader.position(partition)));
            }
            writer.sendOffsetsToTransaction(positions, reader.groupMetadata());
            writer.commitTransaction();
        }
        try (var reader = consumer("app", "secured-read", "consumer")) {
            reader.subscribe(List.of(TARGET));
            must(read(reader).equals(values()), "others were read than were copied");
            reader.commitSync();
        }
    }

    /** As many different values as were written. */
    private static Set<String> read(KafkaConsumer<String, String> reader) {
        var read = new TreeSet<String>();
        long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (read.size() < RECORDS) {
            must(System.nanoTime() < end, "within 30 s " + read.size() + " of " + RECORDS + " values were read");
            reader.poll(Duration.ofMillis(200)).forEach(record -> read.add(record.value()));
        }
        return read;
    }

    /** Logged in, and without any right; and with rights, beyond them. */
    private static void denied() throws Exception {
        try (var producer = producer("nobody", Map.of())) {
            refused(TopicAuthorizationException.class, () -> producer.send(new ProducerRecord<>(SOURCE, "x")).get());
        }
        try (var producer = producer("nobody", Map.of("transactional.id", "secured-copy"))) {
            refused(TransactionalIdAuthorizationException.class, producer::initTransactions);
        }
        for (String protocol : List.of("classic", "consumer")) {
            try (var reader = consumer("nobody", "secured-copy", protocol)) {
                reader.subscribe(List.of(SOURCE));
                // Of the topic or of the group, whichever is asked for first.
                refused(AuthorizationException.class, () -> pollUntilRefused(reader));
            }
        }
        try (var admin = admin("nobody")) {
            must(admin.listTopics().names().get().isEmpty(), "nobody sees topics");
            refused(
                    TopicAuthorizationException.class,
                    () -> admin.createTopics(List.of(new NewTopic("secured-new", 1, (short) 3))).all().get());
            refused(
                    ClusterAuthorizationException.class,
                    () -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get());
            refused(
                    GroupAuthorizationException.class,
                    () -> admin.listConsumerGroupOffsets("secured-copy").partitionsToOffsetAndMetadata().get());
        }
        try (var reader = consumer("app", "another", "classic")) {
            reader.subscribe(List.of(SOURCE));
            refused(GroupAuthorizationException.class, () -> pollUntilRefused(reader));
        }
    }

    private static void pollUntilRefused(KafkaConsumer<String, String> reader) {
        for (long end = System.nanoTime() + Duration.ofSeconds(20).toNanos(); System.nanoTime() < end; ) {
            reader.poll(Duration.ofMillis(200));
        }
    }

    private static void wrongPassword() throws Exception {
        try (var admin = admin("guess")) {
            refused(SaslAuthenticationException.class, () -> admin.listTopics().names().get());
        }
        try (var producer = producer("guess", Map.of())) {
            refused(SaslAuthenticationException.class, () -> producer.send(new ProducerRecord<>(SOURCE, "x")).get());
        }
    }
}
