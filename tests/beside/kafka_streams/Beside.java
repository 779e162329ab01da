import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/**
 * Measures an application of streams beside its broker, over Kafka's protocol, so that both sides have the same input and the same
 * reader of what is committed. Writes a row of a table for each round.
 *
 * <p>`Beside LABEL BOOTSTRAP BROKER_PID CASE RECORDS ROUNDS COMMAND...`, where the cases are `words`, `windows`, `latency`
 * (RECORDS: seconds) and `restart`, and the command starts the application.
 */
public final class Beside {
    static final int PARTITIONS = 4;

    /** What Kafka Streams takes by default for results that change often, in an application. */
    private static final String CACHE = Integer.toString(10 << 20);

    private static final String NO_CACHE = "0";
    private static final int RATE = 2_000;
    private static final int WARM_SECONDS = 5;

    private final String label;
    private final String bootstrap;
    private final long broker;
    private final List<String> command;

    private Beside(String label, String bootstrap, long broker, List<String> command) {
        this.label = label;
        this.bootstrap = bootstrap;
        this.broker = broker;
        this.command = command;
    }

    public static void main(String[] arguments) throws Exception {
        var command = Arrays.asList(arguments).subList(6, arguments.length);
        var beside = new Beside(arguments[0], arguments[1], Long.parseLong(arguments[2]), command);
        var what = arguments[3];
        int records = Integer.parseInt(arguments[4]);
        int rounds = Integer.parseInt(arguments[5]);
        if (what.equals("restart")) {
            beside.restarts(records, rounds);
            return;
        }
        try (var application = new Processes.Application(command)) {
            for (int round = 0; round < rounds; round++) {
                if (what.equals("latency")) {
                    beside.latency(application, records, round);
                } else {
                    beside.throughput(application, what, records, round);
                }
            }
        }
    }

    private String makeTopics(String round) throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var topics = new ArrayList<NewTopic>();
            for (var name : List.of("in-" + round, "out-" + round)) {
                topics.add(new NewTopic(name, PARTITIONS, (short) 1));
            }
            admin.createTopics(topics).all().get();
        }
        return round;
    }

    private long fill(String topology, String round, int records) {
        var inputs = new Inputs(bootstrap, "in-" + round, 5);
        long sum = inputs.write(topology, records);
        inputs.close();
        return sum;
    }

    /** All records are there before the application starts: the time until all of their results are committed. */
    private void throughput(Processes.Application application, String topology, int records, int number)
            throws Exception {
        var round = makeTopics(topology + "-" + number);
        long sum = fill(topology, round, records);
        try (var results = new Results(bootstrap, "out-" + round)) {
            double ofApplication = Processes.cpuSeconds(application.pid());
            double ofBroker = Processes.cpuSeconds(broker);
            double ofAll = Processes.machineCpuSeconds();
            double ofReader = Processes.cpuSeconds(ProcessHandle.current().pid());
            long began = System.nanoTime();
            application.order("start " + topology + " " + round + " " + CACHE);
            results.awaitSum(sum);
            double seconds = (System.nanoTime() - began) / 1e9;
            ofApplication = Processes.cpuSeconds(application.pid()) - ofApplication;
            ofBroker = Processes.cpuSeconds(broker) - ofBroker;
            ofReader = Processes.cpuSeconds(ProcessHandle.current().pid()) - ofReader;
            double others = Processes.machineCpuSeconds() - ofAll - ofApplication - ofBroker - ofReader;
            double millions = records / 1e6;
            System.out.printf(
                    "| %s | %s | %d | %.0f | %.2f | %.2f | %.2f | %.1f |%n",
                    label,
                    topology,
                    number + 1,
                    records / seconds,
                    ofApplication / millions,
                    ofBroker / millions,
                    (ofApplication + ofBroker) / millions,
                    others);
        }
        application.order("stop");
    }

    /** Words at a modest rate: from the time at which each is written until its count is read, committed. */
    private void latency(Processes.Application application, int seconds, int number) throws Exception {
        var round = makeTopics("latency-" + number);
        try (var results = new Results(bootstrap, "out-" + round)) {
            application.order("start words " + round + " " + NO_CACHE);
            var inputs = new Inputs(bootstrap, "in-" + round, 0);
            int records = (seconds + WARM_SECONDS) * RATE;
            long fromMs = System.currentTimeMillis() + TimeUnit.SECONDS.toMillis(WARM_SECONDS);
            var writer = new Thread(() -> write(inputs, records));
            writer.start();
            var ages = results.ages(records, fromMs);
            writer.join();
            inputs.close();
            System.out.printf(
                    "| %s | %d words/s | %d | %d | %d | %d | %d |%n",
                    label,
                    RATE,
                    number + 1,
                    ages.size(),
                    ages.get(ages.size() / 2),
                    ages.get(ages.size() * 99 / 100),
                    ages.get(ages.size() - 1));
        }
        application.order("stop");
    }

    private static void write(Inputs inputs, int records) {
        long began = System.nanoTime();
        for (int number = 0; number < records; number++) {
            long due = began + number * TimeUnit.SECONDS.toNanos(1) / RATE;
            while (System.nanoTime() < due) {
                java.util.concurrent.locks.LockSupport.parkNanos(due - System.nanoTime());
            }
            inputs.writeWord();
        }
    }

    /** A task of so many pages of 1 KiB is ended, by a farewell or by kill -9, and begun in a new process. */
    private void restarts(int records, int rounds) throws Exception {
        var round = makeTopics("pages-0");
        long sum = fill("pages", round, records);
        try (var results = new Results(bootstrap, "out-" + round)) {
            var application = new Processes.Application(command);
            application.order("start pages " + round + " " + CACHE);
            results.awaitSum(sum);
            for (int number = 0; number < 2 * rounds; number++) {
                boolean isKilled = number % 2 == 1;
                if (!isKilled) {
                    application.order("stop");
                }
                application.close();
                // One more page than there were, which is to be processed.
                var more = new Inputs(bootstrap, "in-" + round, 0);
                sum += more.writeOnePage(records + number);
                more.close();
                long began = System.nanoTime();
                application = new Processes.Application(command);
                application.order("start pages " + round + " " + CACHE);
                results.awaitSum(sum);
                double seconds = (System.nanoTime() - began) / 1e9;
                System.out.printf(
                        "| %s | %d MiB, %s | %d | %.2f |%n",
                        label, records / 1024, isKilled ? "kill -9" : "stopped", number / 2 + 1, seconds);
            }
            application.close();
        }
    }
}
