import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The application under measurement, and what processes cost. */
final class Processes {
    /** In a second, as Linux counts the time of processes. */
    private static final double TICKS = 100;

    private Processes() {}

    /** CPU seconds of a process so far, in its own code and in the kernel. */
    static double cpuSeconds(long process) {
        try {
            var stat = Files.readString(Path.of("/proc/" + process + "/stat"));
            var fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / TICKS;
        } catch (IOException error) {
            throw new IllegalStateException("process " + process + " has ended", error);
        }
    }

    /** CPU seconds of the whole machine, but for those in which it was idle or waited for a disk. */
    static double machineCpuSeconds() {
        try {
            var fields = Files.readAllLines(Path.of("/proc/stat")).get(0).trim().split(" +");
            long busy = 0;
            for (int place : new int[] {1, 2, 3, 6, 7}) {
                busy += Long.parseLong(fields[place]);
            }
            return busy / TICKS;
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** An application that takes orders on its standard input. */
    static final class Application implements AutoCloseable {
        private final Process process;
        private final PrintStream orders;
        private final BufferedReader answers;

        Application(List<String> command) throws IOException {
            process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            orders = new PrintStream(process.getOutputStream(), true);
            answers = new BufferedReader(new InputStreamReader(process.getInputStream()));
        }

        long pid() {
            return process.pid();
        }

        /** Returns once it has answered. */
        void order(String order) throws IOException {
            orders.println(order);
            if (answers.readLine() == null) {
                throw new IllegalStateException("the application has ended at " + order);
            }
        }

        /** Ended without a farewell, as kill -9 does it. */
        @Override
        public void close() {
            process.destroyForcibly();
            process.onExit().join();
        }
    }
}
