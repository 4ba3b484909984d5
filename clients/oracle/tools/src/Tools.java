import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.slf4j.LoggerFactory;

/** Kafka's own command line tools, as an operator types them. */
final class Tools {
    /** The requests whose newest common version is shown: those that the tools and clients cannot do without. */
    private static final List<Integer> REQUESTS = Arrays.asList(
            0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 42, 44, 46, 47, 60, 75);

    private final Story story;
    private final Shell shell;

    private Tools(Story story) {
        this.story = story;
        this.shell = new Shell(story);
    }

    public static void main(String[] arguments) {
        Story story = Story.from(arguments);
        // The log goes where standard error is now, not where a tool's is.
        LoggerFactory.getLogger(Tools.class).debug("began");
        Tools tools = new Tools(story);
        tools.cluster();
        tools.topics();
        tools.configs();
        tools.records();
        tools.offsets();
        tools.groups();
        tools.member();
        tools.forgotten();
        tools.performance();
        tools.verifiable();
        tools.trimmed();
        story.end();
    }

    private interface Masks {
        void apply(Shell.Said said);
    }

    /** Shows what a command says. */
    private void type(String command) {
        type(command, said -> { });
    }

    /** Shows what a command says, but for what these masks take out. */
    private void type(String command, Masks masks) {
        story.step(command, rows -> {
            Shell.Said said = shell.run(command);
            masks.apply(said);
            said.show(rows.row());
        });
    }

    /** Shows what a command says about this run, in no order. */
    private void list(String command) {
        type(command, said -> said.of(story.name("")).sorted());
    }

    private void cluster() {
        type("cluster cluster-id", said -> said.masked("Cluster ID: \\S+", "Cluster ID: ID"));
        story.step("broker-api-versions", rows -> {
            Matcher usable = Pattern.compile("(\\w+)\\((\\d+)\\): [^\\[\n]*\\[usable: (\\d+)")
                    .matcher(String.join("\n", shell.run("broker-api-versions").lines));
            Row row = rows.row();
            while (usable.find()) {
                if (REQUESTS.contains(Integer.valueOf(usable.group(2)))) {
                    row.put(usable.group(1), Integer.valueOf(usable.group(3)));
                }
            }
        });
    }

    /** Every command names the topics of this run: those of others may go while it looks at all there are. */
    private void topics() {
        type("topics --create --topic %topic --partitions 3 --replication-factor 1 --config retention.ms=3600000");
        type("topics --create --topic %topic");
        type("topics --create --topic %topic --if-not-exists");
        type("topics --create --topic %default");
        type("topics --create --topic %a.topic_with-all");
        type("topics --create --topic %a~topic");
        type("topics --create --topic %none --partitions 0");
        type("topics --create --topic %none --config no.such=1");
        type("topics --create --topic %none --config retention.ms=long");
        settled("%topic", 3);
        settled("%default", 1);
        list("topics --list");
        list("topics --list --exclude-internal");
        list("topics --describe --topic %.*");
        list("topics --describe --topic %.* --topics-with-overrides");
        list("topics --describe --topic %.* --under-replicated-partitions");
        list("topics --describe --topic %.* --unavailable-partitions");
        list("topics --describe --topic %.* --at-min-isr-partitions");
        list("topics --describe --topic %.* --under-min-isr-partitions");
        type("topics --describe --topic %unknown");
        type("topics --describe --topic %unknown --if-exists");
        type("topics --alter --topic %topic --partitions 4");
        settled("%topic", 4);
        type("topics --describe --topic %topic");
        type("topics --alter --topic %topic --partitions 2");
        type("topics --alter --topic %topic --partitions 4");
        type("topics --alter --topic %unknown --partitions 4");
        type("topics --delete --topic %default");
        settled("%default", 0);
        type("topics --delete --topic %default");
        type("reassign-partitions --list");
    }

    /** Kafka's brokers learn in their own time what its controller has decided. */
    private void settled(String topic, int partitions) {
        story.step("settled " + topic, rows -> {
            int[] led = new int[1];
            Story.settle(() -> {
                led[0] = shell.run("topics --describe --if-exists --topic " + topic)
                        .of("Leader: ").without(".*Leader: none.*").lines.size();
                return led[0] == partitions;
            });
            rows.row().put("partitions", led[0]);
        });
    }

    private void configs() {
        String topic = " --entity-type topics --entity-name %topic";
        String unknown = " --entity-type topics --entity-name %unknown";
        type("configs --alter --add-config max.message.bytes=123456,cleanup.policy=[compact,delete]" + topic);
        configured("max.message.bytes=123456", true);
        type("configs --describe" + topic);
        type("configs --describe --all" + topic, Shell.Said::sorted);
        type("configs --alter --delete-config max.message.bytes" + topic);
        configured("max.message.bytes=123456", false);
        type("configs --describe" + topic);
        type("configs --alter --delete-config max.message.bytes" + topic);
        type("configs --alter --add-config no.such=1" + topic);
        type("configs --alter --add-config retention.ms=long" + topic);
        type("configs --alter --add-config max.message.bytes=-1" + topic);
        type("configs --describe" + unknown);
        type("configs --alter --add-config retention.ms=1" + unknown);
        type("configs --describe --entity-type brokers --entity-default");
    }

    private void configured(String setting, boolean expected) {
        story.step("settled " + setting, rows -> {
            boolean[] there = new boolean[1];
            Story.settle(() -> {
                there[0] = !shell.run("configs --describe --entity-type topics --entity-name %topic")
                        .of(setting).lines.isEmpty();
                return there[0] == expected;
            });
            rows.row().put("there", there[0]);
        });
    }

    private void records() {
        StringBuilder keyed = new StringBuilder();
        for (int i = 0; i < 20; i++) {
            keyed.append("key-").append(i).append(":typed at the console, number ").append(i).append('\n');
        }
        produce("--topic %topic --property parse.key=true --property key.separator=:", keyed.toString());
        produce("--topic %a.topic_with-all --property parse.key=true --property parse.headers=true"
                + " --property headers.delimiter=| --property key.separator=| --property null.marker=NULL --compression-codec gzip",
                "h1:a,h2:b|k|v\nNULL|k|no headers\nh:1|NULL|NULL\n");
        produce("--topic %one", "one\n");
        produce("--topic %a~topic", "refused\n");
        String shown = " --property print.key=true --property print.headers=true --property print.offset=true"
                + " --property print.partition=true";
        consume("--topic %topic --from-beginning --max-messages 20 --timeout-ms 10000 --group %group" + shown);
        consume("--topic %a.topic_with-all --partition 0 --offset earliest --max-messages 3 --timeout-ms 10000" + shown);
        consume("--topic %a.topic_with-all --partition 0 --offset 2 --max-messages 1 --timeout-ms 10000" + shown);
        consume("--topic %a.topic_with-all --partition 0 --offset latest --timeout-ms 300");
        consume("--include %a.* --from-beginning --max-messages 3 --timeout-ms 10000 --group %pattern");
    }

    private void produce(String options, String input) {
        story.step("console-producer " + options, rows -> shell.run("console-producer " + options, input).show(rows.row()));
    }

    private void consume(String options) {
        type("console-consumer " + options, said -> said.without("^\\[.*").sorted());
    }

    private void offsets() {
        type("get-offsets --topic %topic");
        for (String time : Arrays.asList(
                "earliest", "latest", "-1", "-2", "0", "4000000000000", "earliest-local", "latest-tiered")) {
            type("get-offsets --topic %a.topic_with-all --time " + time);
        }
        // Of several records with one timestamp any is the newest.
        type("get-offsets --topic %one --time max-timestamp");
        type("get-offsets --topic %topic --partitions 1,2");
        type("get-offsets --topic-partitions %topic:0-2,%a.*:0");
        type("get-offsets --topic %unknown");
        type("get-offsets --topic %topic --partitions 9");
    }

    private void groups() {
        list("consumer-groups --list");
        list("consumer-groups --list --state");
        if (Shell.has("groups")) {
            list("groups --list");
        }
        type("consumer-groups --describe --group %group", Shell.Said::sorted);
        type("consumer-groups --describe --group %group --state");
        type("consumer-groups --describe --group %group --members");
        type("consumer-groups --describe --group %nobody");
        for (String to : Arrays.asList("--to-earliest --dry-run", "--to-earliest --execute", "--shift-by 2 --execute",
                "--to-offset 3 --execute", "--to-offset 99999 --execute", "--to-datetime 2020-01-01T00:00:00.000 --execute",
                "--by-duration PT0S --execute", "--to-latest --execute", "--to-current --export")) {
            reset(to);
        }
        type("consumer-groups --describe --group %group", Shell.Said::sorted);
    }

    private void reset(String to) {
        type("consumer-groups --reset-offsets --group %group --topic %topic " + to,
                said -> said.masked("^\\[.*?\\] ", "").broken(story.name("group") + " ").sorted());
    }

    /** A group whose one member is alive. */
    private void member() {
        Properties config = new Properties();
        config.put("bootstrap.servers", story.bootstrap);
        config.put("group.id", story.name("group"));
        config.put("client.id", "member");
        config.put("enable.auto.commit", "false");
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        boolean[] leaves = new boolean[1];
        Thread member = new Thread(() -> {
            consumer.subscribe(Collections.singletonList(story.name("topic")));
            while (!leaves[0]) {
                consumer.poll(Duration.ofMillis(50));
            }
            consumer.close();
        });
        member.start();
        String describe = "consumer-groups --describe --group %group";
        state("a member joins", "Stable");
        for (String how : Arrays.asList("", " --state", " --members", " --members --verbose")) {
            type(describe + how, said -> said.masked("/\\d+\\.\\d+\\.\\d+\\.\\d+", "HOST").sorted());
        }
        reset("--to-earliest --execute");
        type("consumer-groups --delete --group %group");
        leaves[0] = true;
        state("the member leaves", "Empty");
    }

    private void state(String step, String state) {
        story.step(step, rows -> {
            boolean[] reached = new boolean[1];
            Story.settle(() -> {
                reached[0] = !shell.run("consumer-groups --describe --group %group --state").of(state).lines.isEmpty();
                return reached[0];
            });
            rows.row().put(state, reached[0]);
        });
    }

    private void forgotten() {
        type("consumer-groups --delete-offsets --group %group --topic %topic:0", said -> said.broken(story.name("topic") + " "));
        type("consumer-groups --describe --group %group", Shell.Said::sorted);
        type("consumer-groups --delete-offsets --group %group --topic %topic:9", said -> said.broken(story.name("topic") + " "));
        type("consumer-groups --delete --group %group");
        type("consumer-groups --delete --group %group");
        list("consumer-groups --list");
    }

    private void performance() {
        // Times and rates surround the numbers of records.
        type("producer-perf-test --topic %performance --num-records 500 --record-size 100 --throughput -1"
                + " --producer-props acks=all compression.type=lz4", said -> said.masked("(?<=sent).*", ""));
        type("get-offsets --topic %performance");
        type("consumer-perf-test --topic %performance --messages 500 --group %performance --hide-header",
                said -> said.of(", ").masked("^(?:[^,]+, ){4}(\\d+),.*", "$1 records read"));
    }

    private void verifiable() {
        story.step("verifiable-producer", rows -> shell
                .runUntil("\"offset\":11", "verifiable-producer --topic %verifiable --max-messages 12 --acks -1", "")
                .masked("\"timestamp\":\\d+,", "").show(rows.row()));
        story.step("verifiable-consumer", rows -> {
            Shell.Said said = shell.run("verifiable-consumer --topic %verifiable --group-id %verifiable --max-messages 12"
                    + " --reset-policy earliest --verbose").masked("\"timestamp\":\\d+,", "");
            // How many records come at once is nobody's promise.
            rows.row().put("kinds", said.lines.stream().map(line -> line.replaceAll(".*\"name\":\"(\\w+)\".*", "$1"))
                    .collect(Collectors.toCollection(TreeSet::new)));
            said.of("record_data").show(rows.row());
        });
        type("get-offsets --topic %verifiable");
        type("consumer-groups --describe --group %verifiable", Shell.Said::sorted);
    }

    private void trimmed() {
        trim("{'topic': '%topic', 'partition': 0, 'offset': -1}, {'topic': '%topic', 'partition': 1, 'offset': 2}");
        trim("{'topic': '%topic', 'partition': 1, 'offset': 99999}");
        type("get-offsets --topic %topic --time earliest");
        story.step("log-dirs", rows -> {
            String all = String.join("", shell.run("log-dirs --describe --topic-list %topic").lines);
            Matcher partition =
                    Pattern.compile("\"partition\":\"" + Pattern.quote(story.name("topic")) + "-(\\d+)\"").matcher(all);
            TreeSet<String> partitions = new TreeSet<>();
            while (partition.find()) {
                partitions.add(partition.group(1));
            }
            rows.row().put("partitions", partitions);
        });
    }

    private void trim(String partitions) {
        story.step("delete-records " + partitions, rows -> {
            Path plan = Files.createTempFile("delete-records", ".json");
            try {
                String json = "{'version': 1, 'partitions': [" + partitions.replace("%", story.name("")) + "]}";
                Files.write(plan, json.replace('\'', '"').getBytes(StandardCharsets.UTF_8));
                shell.run("delete-records --offset-json-file " + plan).sorted().show(rows.row());
            } finally {
                Files.delete(plan);
            }
        });
    }
}
