import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Tries Kafka's own client. */
public final class Clients extends Checks {
    private static final String NAME = "java";
    private static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final Duration A_MOMENT = Duration.ofMillis(100);
    private static Admin admin;

    private record Pair(String key, String value) {}

    public static void main(String[] arguments) {
        admin = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP));
        tell("admin", Clients::administered);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            tell(codec, () -> codec(codec));
        }
        tell("group", () -> group("classic"));
        tell("group-848", () -> group("consumer"));
        tell("group-roll", () -> roll(RangeAssignor.class));
        tell("group-roll-cooperative", () -> roll(CooperativeStickyAssignor.class));
        tell("time", Clients::seekByTime);
        if (System.getenv("TRANSACTIONS").equals("yes")) {
            tell("transactions", Clients::transactions);
        }
        tell("kill", Clients::leaderKilled);
        admin.close();
    }

    private static void until(String what, BooleanSupplier is) throws InterruptedException {
        for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30); !is.getAsBoolean(); Thread.sleep(20)) {
            must(System.nanoTime() < end, "not within 30 s: " + what);
        }
    }

    private static void node(String action, int number) throws IOException, InterruptedException {
        var process = new ProcessBuilder(System.getenv("NODE"), action, Integer.toString(number)).inheritIO().start();
        must(process.waitFor() == 0, action + " of node " + number);
    }

    private static List<Pair> records(int first, int end) {
        return IntStream.range(first, end)
                .mapToObj(i -> new Pair("k" + i % 17, NAME + " " + i + " " + "flight ".repeat(20)))
                .toList();
    }

    /** Each record once, those of a key in the order in which they were sent. */
    private static void same(List<Pair> sent, List<Pair> read, String what) {
        must(sent.size() == read.size(), what + ": " + sent.size() + " sent, " + read.size() + " read");
        var ofKeys = Collectors.groupingBy(Pair::key);
        must(sent.stream().collect(ofKeys).equals(read.stream().collect(ofKeys)), what + ": others, or another order");
    }

    private static List<Pair> pairs(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(record -> new Pair(record.key(), record.value())).toList();
    }

    private static List<TopicPartitionInfo> partitions(String topic) {
        try {
            return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
        } catch (Exception notYet) {
            return List.of();
        }
    }

    private static void make(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 3))).all().get();
        until(topic + " is there", () -> {
            var found = partitions(topic);
            return found.size() == partitions && found.stream().allMatch(one -> one.leader() != null);
        });
    }

    private static KafkaProducer<String, String> producer(Map<String, ?> settings) {
        var all = new Properties();
        all.putAll(Map.of("bootstrap.servers", BOOTSTRAP, "linger.ms", "5"));
        all.putAll(settings);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Map<String, ?> settings) {
        var all = new Properties();
        all.putAll(Map.of("bootstrap.servers", BOOTSTRAP, "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    private static void send(String topic, List<Pair> pairs, Map<String, ?> settings) throws Exception {
        try (var producer = producer(settings)) {
            var sends = new ArrayList<Future<RecordMetadata>>();
            for (Pair pair : pairs) {
                var record = new ProducerRecord<>(topic, pair.key, pair.value);
                record.headers().add("from", NAME.getBytes());
                sends.add(producer.send(record));
            }
            for (var sent : sends) {
                sent.get();
            }
        }
    }

    private static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> reader, int count) {
        var records = new ArrayList<ConsumerRecord<String, String>>();
        for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60); records.size() < count; ) {
            must(System.nanoTime() < end, records.size() + " of " + count + " records were read");
            reader.poll(A_MOMENT).forEach(records::add);
        }
        return records;
    }

    private static List<ConsumerRecord<String, String>> readTopic(
            String topic, int partitions, int count, Map<String, ?> settings) {
        try (var reader = consumer(settings)) {
            reader.assign(IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList());
            reader.seekToBeginning(reader.assignment());
            var records = read(reader, count);
            reader.poll(A_MOMENT.multipliedBy(3)).forEach(records::add);
            must(records.size() == count, topic + ": " + records.size() + " records instead of " + count);
            return records;
        }
    }

    private static String retention(ConfigResource resource) {
        try {
            return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
        } catch (Exception error) {
            return error.toString();
        }
    }

    private static void administered() throws Exception {
        String topic = NAME + "-admin";
        make(topic, 2);
        must(partitions(topic).stream().allMatch(one -> one.replicas().size() == 3), "three replicas");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var change = new AlterConfigOp(new ConfigEntry("retention.ms", "86400000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        until("retention.ms is as it was set", () -> retention(resource).equals("86400000"));
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        until("four partitions", () -> partitions(topic).size() == 4);
        admin.deleteTopics(List.of(topic)).all().get();
        until("the topic is gone", () -> {
            try {
                return !admin.listTopics().names().get().contains(topic);
            } catch (Exception error) {
                return false;
            }
        });
        must(admin.describeCluster().nodes().get().size() == 3, "three nodes");
    }

    private static void codec(String codec) throws Exception {
        String topic = NAME + "-" + codec;
        make(topic, 3);
        send(topic, records(0, 1000), Map.of("compression.type", codec));
        var read = readTopic(topic, 3, 1000, Map.of());
        same(records(0, 1000), pairs(read), codec);
        must(read.stream().allMatch(one -> new String(one.headers().lastHeader("from").value()).equals(NAME)), "headers");
    }

    /** Members of a group, and how often each record was read by each. */
    private static final class Members {
        final String topic;
        final Map<String, String> settings;
        final Map<String, KafkaConsumer<String, String>> all = new HashMap<>();
        final Map<String, Integer> read = new HashMap<>();
        final Map<String, Integer> times = new HashMap<>();

        Members(String topic, String protocol) {
            this.topic = topic;
            settings = Map.of("group.id", topic, "group.protocol", protocol);
        }

        void join(String name) {
            join(name, Map.of());
        }

        void join(String name, Map<String, String> own) {
            var its = new HashMap<>(settings);
            its.putAll(own);
            all.put(name, consumer(its));
            all.get(name).subscribe(List.of(topic));
        }

        void step() {
            all.forEach((name, member) -> member.poll(A_MOMENT).forEach(record -> {
                read.merge(name, 1, Integer::sum);
                times.merge(record.value(), 1, Integer::sum);
            }));
        }

        int total() {
            return read.values().stream().mapToInt(Integer::intValue).sum();
        }

        void assigned(String name, int partitions) throws InterruptedException {
            until(name + " has " + partitions + " partitions", () -> {
                step();
                return all.get(name).assignment().size() == partitions;
            });
        }

        /**
         * All have so many partitions, in one generation: an eager member that has yet to go over to the newest gives its
         * partitions up for that, and reads again what it has not committed.
         */
        void settled(int partitions) throws InterruptedException {
            until("all have " + partitions + " partitions in one generation", () -> {
                step();
                var members = all.values();
                return members.stream().allMatch(one -> one.assignment().size() == partitions)
                        && members.stream().map(one -> one.groupMetadata().generationId()).distinct().count() == 1;
            });
        }

        void take(List<Pair> more) throws Exception {
            int total = total() + more.size();
            send(topic, more, Map.of());
            until(total + " records read", () -> {
                step();
                return total() >= total;
            });
            all.values().forEach(KafkaConsumer::commitSync);
        }
    }

    /** One member reads; with the second, each record goes to one of the two; without the first, all to the second. */
    private static void group(String protocol) throws Exception {
        var members = new Members(NAME + "-group-" + protocol, protocol);
        make(members.topic, 4);
        members.join("first");
        members.take(records(0, 400));
        members.join("second");
        members.assigned("second", 2);
        members.assigned("first", 2);
        members.take(records(400, 1200));
        members.all.remove("first").close();
        members.assigned("second", 4);
        members.take(records(1200, 1600));
        members.all.get("second").close();
        must(members.read.get("first") > 400 && members.read.get("second") > 400, "one read everything: " + members.read);
        must(records(0, 1600).stream().allMatch(sent -> members.times.get(sent.value) == 1), "each record to one member");
        admin.deleteConsumerGroups(List.of(members.topic)).all().get();
    }

    /** Three members are exchanged one by one for those of the other protocol, there and back: nothing is read twice. */
    private static void roll(Class<? extends ConsumerPartitionAssignor> assignor) throws Exception {
        var classic = Map.of("group.protocol", "classic", "partition.assignment.strategy", assignor.getName());
        var modern = Map.of("group.protocol", "consumer");
        var members = new Members(NAME + "-roll-" + assignor.getSimpleName(), "classic");
        make(members.topic, 6);
        int sent = 0;
        for (var protocol : List.of(classic, modern, classic)) {
            for (int i = 0; i < 3; i++, sent += 300) {
                String name = "member" + i;
                Optional.ofNullable(members.all.remove(name)).ifPresent(KafkaConsumer::close);
                members.join(name, protocol);
                int each = 6 / members.all.size();
                members.settled(each);
                members.take(records(sent, sent + 300));
                var group = admin.describeConsumerGroups(List.of(members.topic)).all().get().get(members.topic);
                must(group.members().size() == members.all.size(), "members " + group.members());
                long upgraded = group.members().stream().filter(one -> one.upgraded().equals(Optional.of(true))).count();
                must(protocol != modern || upgraded == i + 1, upgraded + " members speak the other protocol");
            }
            var group = admin.describeConsumerGroups(List.of(members.topic)).all().get().get(members.topic);
            must(group.type() == (protocol == modern ? GroupType.CONSUMER : GroupType.CLASSIC), "type " + group.type());
        }
        members.all.values().forEach(KafkaConsumer::close);
        var wrong = records(0, sent).stream().filter(one -> members.times.getOrDefault(one.value, 0) != 1).toList();
        must(wrong.isEmpty(), wrong.size() + " records not once, the first " + (wrong.isEmpty() ? "" : wrong.get(0).value.split("flight")[0]
                + members.times.get(wrong.get(0).value) + " times"));
        admin.deleteConsumerGroups(List.of(members.topic)).all().get();
    }

    private static void seekByTime() throws Exception {
        var place = new TopicPartition(NAME + "-time", 0);
        make(place.topic(), 1);
        long begin = System.currentTimeMillis() - 3_600_000;
        try (var producer = producer(Map.of())) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(place.topic(), 0, begin + i * 1000L, null, Integer.toString(i)));
            }
        }
        try (var reader = consumer(Map.of())) {
            reader.assign(List.of(place));
            var found = reader.offsetsForTimes(Map.of(place, begin + 49_001)).get(place);
            must(found.offset() == 50 && found.timestamp() == begin + 50_000, found.toString());
            must(reader.offsetsForTimes(Map.of(place, begin + 100_000)).get(place) == null, "a record after the last");
            reader.seek(place, found.offset());
            var values = read(reader, 50).stream().map(ConsumerRecord::value).toList();
            must(values.equals(IntStream.range(50, 100).mapToObj(Integer::toString).toList()), values.toString());
        }
    }

    private static void leaderKilled() throws Exception {
        String topic = NAME + "-kill";
        int total = 3000;
        make(topic, 3);
        int leader = partitions(topic).get(0).leader().id();
        var during = CompletableFuture.supplyAsync(() -> readTopic(topic, 3, total, Map.of()));
        var sent = new ArrayList<Pair>();
        try (var producer = producer(Map.of("acks", "all"))) {
            var sends = new ArrayList<Future<RecordMetadata>>();
            for (int i = 0; i < total; i++) {
                sent.add(new Pair(Integer.toString(i % 3), Integer.toString(i)));
                sends.add(producer.send(new ProducerRecord<>(topic, i % 3, sent.get(i).key, sent.get(i).value)));
                Thread.sleep(1);
                if (i == total / 3) {
                    node("kill", leader);
                } else if (i == total * 2 / 3) {
                    node("start", leader);
                }
            }
            for (var one : sends) {
                one.get();
            }
        }
        same(sent, pairs(during.get()), "read during the kill");
        same(sent, pairs(readTopic(topic, 3, total, Map.of())), "read after it");
    }

    private static void copy(KafkaConsumer<String, String> reader, KafkaProducer<String, String> producer, String target, int count) {
        var records = read(reader, count);
        producer.beginTransaction();
        var ends = new HashMap<TopicPartition, OffsetAndMetadata>();
        for (var record : records) {
            producer.send(new ProducerRecord<>(target, record.key(), record.value()));
            ends.put(
                    new TopicPartition(record.topic(), record.partition()),
                    new OffsetAndMetadata(record.offset() + 1, Optional.empty(), ""));
        }
        producer.sendOffsetsToTransaction(ends, reader.groupMetadata());
        producer.commitTransaction();
    }

    private static void transactions() throws Exception {
        String source = NAME + "-source";
        String target = NAME + "-target";
        make(source, 1);
        make(target, 2);
        send(source, records(0, 100), Map.of());
        var reading = Map.of("group.id", source, "max.poll.records", "20", "isolation.level", "read_committed");
        var writing = Map.of("transactional.id", NAME, "transaction.timeout.ms", "30000");
        var first = producer(writing);
        first.initTransactions();
        try (var reader = consumer(reading)) {
            reader.subscribe(List.of(source));
            copy(reader, first, target, 60);
        }
        first.beginTransaction();
        for (int i = 0; i < 40; i++) {
            first.send(new ProducerRecord<>(target, "k" + i, "aborted"));
        }
        first.flush();
        first.abortTransaction();
        // Another with the same id goes on where the group's offsets are, and the first is fenced.
        try (var second = producer(writing); var reader = consumer(reading)) {
            second.initTransactions();
            reader.subscribe(List.of(source));
            copy(reader, second, target, 40);
            var place = new TopicPartition(source, 0);
            must(reader.committed(Set.of(place)).get(place).offset() == 100, "the group's offset");
        }
        try {
            first.beginTransaction();
            first.send(new ProducerRecord<>(target, "of a zombie"));
            first.commitTransaction();
            throw new AssertionError("the first producer was not fenced");
        } catch (KafkaException fenced) {
            first.close(Duration.ZERO);
        }
        same(records(0, 100), pairs(readTopic(target, 2, 100, Map.of("isolation.level", "read_committed"))), "committed");
        must(readTopic(target, 2, 140, Map.of()).size() == 140, "all records");
    }
}
