import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What is committed of a topic of results. */
final class Results implements AutoCloseable {
    /** How long nothing may come while there is something to come. */
    private static final long SILENT_NANOS = TimeUnit.SECONDS.toNanos(60);

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Map<ByteBuffer, Long> newest = new HashMap<>();
    private long sum;

    Results(String bootstrap, String topic) {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "isolation.level", "read_committed", "fetch.max.wait.ms", 100);
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var all = IntStream.range(0, Beside.PARTITIONS).mapToObj(index -> new TopicPartition(topic, index)).toList();
        consumer.assign(all);
        consumer.seekToBeginning(all);
        all.forEach(consumer::position);
    }

    /** Waits until the newest result of each key comes to so much, all together. */
    void awaitSum(long expected) {
        while (sum < expected) {
            poll("the results came to " + sum + " of " + expected).forEach(this::take);
        }
        if (sum > expected) {
            throw new IllegalStateException("the results came to " + sum + " and should to " + expected);
        }
    }

    /** The next results, once there are some. */
    private ConsumerRecords<byte[], byte[]> poll(String soFar) {
        long end = System.nanoTime() + SILENT_NANOS;
        while (System.nanoTime() < end) {
            var records = consumer.poll(Duration.ofMillis(100));
            if (!records.isEmpty()) {
                return records;
            }
        }
        throw new IllegalStateException(soFar + ", and no more");
    }

    private void take(ConsumerRecord<byte[], byte[]> record) {
        long value = ByteBuffer.wrap(record.value()).getLong();
        Long before = newest.put(ByteBuffer.wrap(record.key()), value);
        sum += value - (before == null ? 0 : before);
    }

    /** The ages at which so many results come, in milliseconds and in order; those before `fromMs` are left out. */
    List<Long> ages(int results, long fromMs) {
        var ages = new ArrayList<Long>();
        for (int seen = 0; seen < results; ) {
            for (var record : poll(seen + " results came of " + results)) {
                seen++;
                if (record.timestamp() >= fromMs) {
                    ages.add(System.currentTimeMillis() - record.timestamp());
                }
            }
        }
        var sorted = ages.toArray(Long[]::new);
        Arrays.sort(sorted);
        return List.of(sorted);
    }

    @Override
    public void close() {
        consumer.close();
    }
}
