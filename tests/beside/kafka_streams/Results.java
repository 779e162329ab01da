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
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What is committed of a topic of results. */
final class Results implements AutoCloseable {
    private static final long WITHIN_NANOS = TimeUnit.MINUTES.toNanos(15);

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
        long end = System.nanoTime() + WITHIN_NANOS;
        while (sum < expected) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("the results came to " + sum + " of " + expected);
            }
            consumer.poll(Duration.ofMillis(100)).forEach(this::take);
        }
        if (sum > expected) {
            throw new IllegalStateException("the results came to " + sum + " and should to " + expected);
        }
    }

    private void take(ConsumerRecord<byte[], byte[]> record) {
        long value = ByteBuffer.wrap(record.value()).getLong();
        Long before = newest.put(ByteBuffer.wrap(record.key()), value);
        sum += value - (before == null ? 0 : before);
    }

    /** The ages at which so many results come, in milliseconds and in order; those before `fromMs` are left out. */
    List<Long> ages(int results, long fromMs) {
        var ages = new ArrayList<Long>();
        long end = System.nanoTime() + WITHIN_NANOS;
        for (int seen = 0; seen < results && System.nanoTime() < end; ) {
            for (var record : consumer.poll(Duration.ofMillis(100))) {
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
