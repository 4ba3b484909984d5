import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/** Runs command line tools in this process, one after another, as a shell would: input, output, status. */
final class Shell {
    /** Thrown where a tool would end the process; its status is kept aside, as some tools catch everything. */
    private static final class Ended extends Error {
        Ended() {
            super("the tool ended", null, false, false);
        }
    }

    /** What a tool said, with what differs from run to run taken out. */
    static final class Said {
        final int status;
        final List<String> lines;

        private Said(int status, List<String> lines) {
            this.status = status;
            this.lines = lines;
        }

        Said sorted() {
            lines.sort(null);
            return this;
        }

        /** Only the lines that have to do with this run. */
        Said of(String text) {
            lines.removeIf(line -> !line.contains(text));
            return this;
        }

        Said without(String expression) {
            lines.removeIf(line -> line.matches(expression));
            return this;
        }

        Said masked(String expression, String mask) {
            lines.replaceAll(line -> line.replaceAll(expression, mask));
            return this;
        }

        /** Breaks the lines of tools that forget to. */
        Said broken(String before) {
            List<String> whole = new ArrayList<>(lines);
            lines.clear();
            for (String line : whole) {
                lines.addAll(Arrays.asList(line.split(" (?=" + before + ")")));
            }
            return this;
        }

        Row show(Row row) {
            return row.with("status", status).with("lines", lines);
        }
    }

    private static final String PLAIN = "org.apache.kafka.tools.";

    /** The tools by the names of their scripts, as far as the version has them. */
    private static final Map<String, Class<?>> TOOLS = new HashMap<>();

    static {
        tool("broker-api-versions", PLAIN + "BrokerApiVersionsCommand", "kafka.admin.BrokerApiVersionsCommand");
        tool("cluster", PLAIN + "ClusterTool");
        tool("configs", "kafka.admin.ConfigCommand");
        tool("console-consumer", PLAIN + "consumer.ConsoleConsumer");
        tool("console-producer", PLAIN + "ConsoleProducer", "kafka.tools.ConsoleProducer");
        tool("consumer-groups", PLAIN + "consumer.group.ConsumerGroupCommand");
        tool("consumer-perf-test", PLAIN + "ConsumerPerformance");
        tool("delete-records", PLAIN + "DeleteRecordsCommand");
        tool("get-offsets", PLAIN + "GetOffsetShell");
        tool("groups", PLAIN + "GroupsCommand");
        tool("log-dirs", PLAIN + "LogDirsCommand");
        tool("producer-perf-test", PLAIN + "ProducerPerformance");
        tool("reassign-partitions", PLAIN + "reassign.ReassignPartitionsCommand");
        tool("topics", PLAIN + "TopicCommand");
        tool("verifiable-consumer", PLAIN + "VerifiableConsumer");
        tool("verifiable-producer", PLAIN + "VerifiableProducer");
    }

    /** Takes the first of these classes that there is: tools moved from package to package. */
    private static void tool(String name, String... classes) {
        for (String candidate : classes) {
            try {
                TOOLS.put(name, Class.forName(candidate));
                return;
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
        }
    }

    static boolean has(String tool) {
        return TOOLS.containsKey(tool);
    }

    private final Story story;

    Shell(Story story) {
        this.story = story;
    }

    /** Runs a command as it is typed; {@code %x} stands for this run's name of x, {@code ~} for a blank in a word. */
    Said run(String command) throws Exception {
        return run(command, "");
    }

    Said run(String command, String input) throws Exception {
        return runUntil("", command, input);
    }

    /** Runs a tool to its end, and on until it has said this. */
    Said runUntil(String expected, String command, String input) throws Exception {
        List<String> words = new ArrayList<>();
        for (String word : command.split(" ")) {
            words.add(word.replace("%", story.name("")).replace('~', ' '));
        }
        Class<?> tool = TOOLS.get(words.remove(0));
        if (words.contains("--producer-props")) {
            // Such a list comes last, and the broker is told there.
            words.add("bootstrap.servers=" + story.bootstrap);
        } else {
            words.addAll(Arrays.asList("--bootstrap-server", story.bootstrap));
        }
        return capture(expected, tool, input, words.toArray(new String[0]));
    }

    private Said capture(String expected, Class<?> tool, String input, String[] arguments) throws Exception {
        InputStream in = System.in;
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        PrintStream screen = new PrintStream(text, true, "UTF-8");
        int[] status = {-1};
        Exit.setExitProcedure((code, message) -> {
            if (status[0] < 0) {
                status[0] = code;
                // What a tool says about an end that it did not expect is not for this process.
                System.setOut(err);
                System.setErr(err);
            }
            throw new Ended();
        });
        Exit.setShutdownHookAdder((name, hook) -> { });
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        System.setOut(screen);
        System.setErr(screen);
        try {
            try {
                tool.getMethod("main", String[].class).invoke(null, (Object) arguments);
            } catch (InvocationTargetException thrown) {
                if (!(thrown.getCause() instanceof Ended)) {
                    screen.println("threw " + Story.cause(thrown.getCause()));
                }
            }
            // A tool whose main thread is done may still be speaking.
            Story.settle(() -> text.toString("UTF-8").contains(expected));
        } finally {
            System.setIn(in);
            System.setOut(out);
            System.setErr(err);
        }
        return new Said(Math.max(status[0], 0), lines(text.toString("UTF-8")));
    }

    private List<String> lines(String text) {
        List<String> lines = new ArrayList<>();
        for (String line : text.split("\n")) {
            if (line.matches("\\s+(at |\\.\\.\\. ).*") || line.trim().isEmpty()) {
                continue;
            }
            lines.add(line.replace(story.bootstrap, "BROKER")
                    .replaceAll("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID")
                    .replaceAll("TopicId: \\S+", "TopicId: ID")
                    .replaceAll("\\s+", " ").trim());
        }
        return lines;
    }
}
