import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What the topologies read: the same bytes whoever they are for, since they are drawn from one seed. */
final class Inputs {
    private static final int WORDS = 20_000;
    private static final int WORDS_OF_A_LINE = 6;
    private static final int SENSORS = 1_000;
    private static final int PAGE_BYTES = 1_024;

    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final Random random = new Random(7);
    private final long began = System.currentTimeMillis();
    private volatile Exception failure;

    Inputs(String bootstrap, String topic, int lingerMs) {
        // One request at a time: where a new topic's leader refuses the first batch and takes the next, Kafka never takes the first.
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap,
                "acks", "all",
                "linger.ms", lingerMs,
                "batch.size", 131_072,
                "max.in.flight.requests.per.connection", 1);
        producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        this.topic = topic;
    }

    /** Returns once all is written. */
    void close() {
        producer.close();
        if (failure != null) {
            throw new IllegalStateException("the input is not whole", failure);
        }
    }

    /** Writes so many; what the newest results come to when all of them are counted. */
    long write(String topology, int records) {
        long sum = 0;
        for (int number = 0; number < records; number++) {
            sum += switch (topology) {
                case "words" -> line(number);
                case "windows" -> reading(number);
                default -> page(number);
            };
        }
        return sum;
    }

    private long line(int number) {
        var line = new StringBuilder();
        for (int word = 0; word < WORDS_OF_A_LINE; word++) {
            line.append(word == 0 ? "" : " ").append(word());
        }
        send(number % Beside.PARTITIONS, null, null, line.toString().getBytes());
        return WORDS_OF_A_LINE;
    }

    /** Some come often, as in a language. */
    private String word() {
        double place = random.nextDouble();
        return "word-" + (int) (WORDS * place * place * place);
    }

    /** Two a millisecond of event time, up to two seconds late: within the grace of the windows. */
    private long reading(int number) {
        long value = random.nextInt(100);
        var key = ("sensor-" + random.nextInt(SENSORS)).getBytes();
        send(null, began + number / 2 - random.nextInt(2_000), key, bytes(value));
        return value;
    }

    private long page(int number) {
        var page = new byte[PAGE_BYTES];
        random.nextBytes(page);
        send(0, null, ("page-" + number).getBytes(), page);
        return PAGE_BYTES;
    }

    /** One page; what the results come to beside those before. */
    long writeOnePage(int number) {
        return page(number);
    }

    /** One word alone, now. */
    void writeWord() {
        send(random.nextInt(Beside.PARTITIONS), System.currentTimeMillis(), null, word().getBytes());
    }

    private void send(Integer partition, Long timestampMs, byte[] key, byte[] value) {
        producer.send(new ProducerRecord<>(topic, partition, timestampMs, key, value), (written, error) -> {
            if (error != null) {
                failure = error;
            }
        });
    }

    private static byte[] bytes(long value) {
        return java.nio.ByteBuffer.allocate(Long.BYTES).putLong(value).array();
    }
}
