import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutionException;

/**
 * What a driver tells: steps, each of which observes something and prints it as rows on standard output.
 *
 * <p>A step that fails or does not end says so and the next one begins, so that one difference hides no other.
 */
final class Story {
    /** What a step may take. */
    private static final long STEP_MS_MAX = 20_000;

    /** So long something that Kafka does in its own time is waited for. */
    private static final long SETTLE_MS_MAX = 12_000;

    /** After so many steps that did not end, nobody waits for the rest. */
    private static final int TIMEOUTS_MAX = 4;

    /** How often something that Kafka does in its own time is looked at again. */
    private static final long LOOK_AGAIN_MS = 20;

    final String bootstrap;
    private final String prefix;
    private final PrintStream out;
    private int timeouts;

    private Story(String bootstrap, String prefix, PrintStream out) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.out = out;
    }

    /** Reads {@code --bootstrap HOST:PORT --prefix P}. From here on only rows go to standard output. */
    static Story from(String[] arguments) {
        List<String> words = Arrays.asList(arguments);
        PrintStream out = System.out;
        System.setOut(System.err);
        return new Story(value(words, "--bootstrap"), value(words, "--prefix"), out);
    }

    private static String value(List<String> words, String key) {
        int at = words.indexOf(key);
        if (at < 0 || at + 1 >= words.size()) {
            throw new IllegalArgumentException(key + " is missing");
        }
        return words.get(at + 1);
    }

    /** The name of a topic or group of this run. */
    String name(String suffix) {
        return prefix + "-" + suffix;
    }

    boolean owns(String name) {
        return name.startsWith(prefix + "-");
    }

    interface Body {
        void tell(Rows rows) throws Exception;
    }

    interface Attempt {
        Object run() throws Exception;
    }

    interface Look {
        boolean seen() throws Exception;
    }

    /** The rows of a step, printed when it has ended. */
    static final class Rows {
        private final String step;
        private final List<Row> rows = new ArrayList<>();

        private Rows(String step) {
            this.step = step;
        }

        synchronized Row row() {
            Row row = new Row().with("step", step);
            rows.add(row);
            return row;
        }

        private synchronized String text() {
            StringBuilder text = new StringBuilder();
            for (Row row : rows) {
                text.append(row).append('\n');
            }
            return text.toString();
        }
    }

    void step(String name, Body body) {
        Rows rows = new Rows(name);
        Throwable[] failure = new Throwable[1];
        long began = System.nanoTime();
        Thread thread = new Thread(() -> {
            try {
                body.tell(rows);
            } catch (Throwable thrown) {
                failure[0] = thrown;
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
        try {
            thread.join(STEP_MS_MAX);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException("nobody interrupts the main thread", interrupted);
        }
        if (thread.isAlive()) {
            for (StackTraceElement frame : thread.getStackTrace()) {
                System.err.println("    at " + frame);
            }
            thread.interrupt();
            rows.row().put("unexpected", "timeout");
            timeouts++;
        } else if (failure[0] != null) {
            failure[0].printStackTrace();
            rows.row().put("unexpected", cause(failure[0]));
        }
        System.err.println(name + " took " + (System.nanoTime() - began) / 1_000_000 + " ms");
        out.print(rows.text());
        if (timeouts >= TIMEOUTS_MAX) {
            out.println(new Row().with("step", "the rest").with("unexpected", "too many steps did not end"));
            end();
        }
        out.flush();
    }

    /** Runs something that should fail and gives the error, or "none" and what came of it instead. */
    static String error(Attempt attempt) {
        try {
            return "none: " + attempt.run();
        } catch (Exception thrown) {
            return cause(thrown);
        }
    }

    /** Only the class of the error, where its message names hosts, members or moments. */
    static String errorClass(Attempt attempt) {
        return error(attempt).replaceFirst(":.*(?s:.*)", "");
    }

    /** Waits for something that Kafka does in its own time; what is then shown says whether it came. */
    static void settle(Look look) throws Exception {
        long deadline = System.nanoTime() + SETTLE_MS_MAX * 1_000_000L;
        while (!look.seen() && System.nanoTime() < deadline) {
            Thread.sleep(LOOK_AGAIN_MS);
        }
    }

    static String cause(Throwable thrown) {
        Throwable cause = thrown;
        while (cause instanceof ExecutionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getClass().getSimpleName() + ": " + cause.getMessage();
    }

    /** Threads of clients that hang must not keep the process. */
    void end() {
        out.flush();
        Runtime.getRuntime().halt(0);
    }
}
