import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;

/** The cluster; topics created well and badly, described and listed. */
final class Topics implements Chapter {
    private static final List<String> OF_BROKER = Arrays.asList(
            "auto.create.topics.enable", "compression.type", "log.cleanup.policy", "log.retention.bytes",
            "message.max.bytes", "min.insync.replicas", "num.partitions", "offset.metadata.max.bytes");

    @Override
    public void tell(Story story, Client client) {
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            cluster(story, admin);
            created(story, admin);
            refused(story, admin);
            describedBadly(story, admin);
        }
    }

    private static void cluster(Story story, AdminClient admin) {
        story.step("describe cluster", rows -> {
            DescribeClusterResult cluster = admin.describeCluster();
            Collection<Node> nodes = cluster.nodes().get();
            rows.row().with("brokers", nodes.size()).with("has an id", !cluster.clusterId().get().isEmpty())
                    .with("has a controller", cluster.controller().get().port() > 0);
        });
        story.step("describe broker configs", rows -> {
            String id = admin.describeCluster().nodes().get().iterator().next().idString();
            Config config = Admins.describeConfigs(admin, new ConfigResource(ConfigResource.Type.BROKER, id));
            Row row = rows.row();
            for (String name : OF_BROKER) {
                ConfigEntry entry = config.get(name);
                row.put(name, entry == null ? "missing" : entry.value());
            }
        });
    }

    private static void created(Story story, AdminClient admin) {
        String[] configs = {
            "cleanup.policy", "compact,delete", "retention.ms", "3600000", "max.message.bytes", "2000000",
            "segment.bytes", "10485760", "min.insync.replicas", "1", "compression.type", "producer"
        };
        story.step("create topic", rows -> {
            Admins.create(admin, Admins.topic(story.name("topic"), 3, configs));
            Admins.show(rows.row(), Calls.describe(admin, story.name("topic")));
        });
        story.step("describe topic configs", rows -> {
            Config config = Admins.describeConfigs(admin, Admins.resource(story.name("topic")));
            Admins.show(rows.row(), config, Admins.map(configs).keySet());
        });
        story.step("create topic with assignment", rows -> {
            int id = admin.describeCluster().nodes().get().iterator().next().id();
            List<Integer> only = Collections.singletonList(id);
            NewTopic topic = new NewTopic(story.name("assigned"), Map.of(0, only, 1, only));
            admin.createTopics(Collections.singleton(topic)).all().get();
            Admins.settle(admin, topic.name(), 2);
            Admins.show(rows.row(), Calls.describe(admin, topic.name()));
        });
        story.step("validate only", rows -> {
            NewTopic topic = Admins.topic(story.name("validated"), 2);
            admin.createTopics(Collections.singleton(topic), new CreateTopicsOptions().validateOnly(true)).all().get();
            rows.row().put("exists", admin.listTopics().names().get().contains(topic.name()));
        });
        story.step("list topics", rows -> {
            TreeSet<String> names = new TreeSet<>();
            for (String name : admin.listTopics().names().get()) {
                if (story.owns(name)) {
                    names.add(name);
                }
            }
            rows.row().put("names", names);
        });
    }

    private static void refused(Story story, AdminClient admin) {
        // What Kafka says about it changed between 3.9 and 4.4.
        story.step("create topic: two replicas", rows -> rows.row().put("error", Story.errorClass(
                () -> admin.createTopics(Collections.singleton(new NewTopic(story.name("two"), 1, (short) 2))).all().get())));
        StringBuilder longName = new StringBuilder(story.name("long-"));
        while (longName.length() < 250) {
            longName.append('x');
        }
        refuse(story, admin, "existing", Admins.topic(story.name("topic"), 3));
        refuse(story, admin, "space in name", Admins.topic(story.name("a topic"), 1));
        refuse(story, admin, "slash in name", Admins.topic(story.name("a/topic"), 1));
        refuse(story, admin, "empty name", Admins.topic("", 1));
        refuse(story, admin, "dot", Admins.topic(".", 1));
        refuse(story, admin, "long name", Admins.topic(longName.toString(), 1));
        refuse(story, admin, "no partitions", Admins.topic(story.name("none"), 0));
        refuse(story, admin, "negative partitions", Admins.topic(story.name("none"), -7));
        refuse(story, admin, "no replicas", new NewTopic(story.name("none"), 1, (short) 0));
        refuse(story, admin, "unknown config", Admins.topic(story.name("none"), 1, "no.such.config", "1"));
        refuse(story, admin, "config that is no number", Admins.topic(story.name("none"), 1, "retention.ms", "long"));
        refuse(story, admin, "config out of range", Admins.topic(story.name("none"), 1, "max.message.bytes", "-5"));
        refuse(story, admin, "config of no such choice", Admins.topic(story.name("none"), 1, "cleanup.policy", "burn"));
        refuse(story, admin, "codec that is none", Admins.topic(story.name("none"), 1, "compression.type", "rar"));
        refuse(story, admin, "unknown broker",
                new NewTopic(story.name("none"), Map.of(0, Collections.singletonList(4711))));
        refuse(story, admin, "gap in partitions",
                new NewTopic(story.name("none"), Map.of(1, Collections.singletonList(1))));
    }

    private static void refuse(Story story, AdminClient admin, String what, NewTopic topic) {
        story.step("create topic: " + what, rows -> rows.row().put("error", Story.error(
                () -> admin.createTopics(Collections.singleton(topic)).all().get())));
    }

    private static void describedBadly(Story story, AdminClient admin) {
        story.step("describe unknown topic", rows -> rows.row()
                .with("topic", Story.error(() -> Calls.describe(admin, story.name("unknown"))))
                .with("configs", Story.error(() -> Admins.describeConfigs(admin, Admins.resource(story.name("unknown"))))));
        story.step("describe invalid topic", rows -> rows.row()
                .with("topic", Story.error(() -> Calls.describe(admin, story.name("a topic"))))
                .with("configs", Story.error(() -> Admins.describeConfigs(admin, Admins.resource(story.name("a topic"))))));
    }
}
