import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;

/** What the chapters of the admin client share. */
final class Admins {
    private Admins() {}

    static AdminClient connect(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("request.timeout.ms", "8000");
        config.put("default.api.timeout.ms", "10000");
        config.put("retry.backoff.ms", "20");
        return AdminClient.create(config);
    }

    /** Creates a topic and waits until the broker knows the leaders of all partitions. */
    static void create(AdminClient admin, NewTopic topic) throws Exception {
        admin.createTopics(Collections.singletonList(topic)).all().get();
        settle(admin, topic.name(), topic.numPartitions());
    }

    static NewTopic topic(String name, int partitions, String... configs) {
        return new NewTopic(name, partitions, (short) 1).configs(map(configs));
    }

    static Map<String, String> map(String... pairs) {
        Map<String, String> map = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            map.put(pairs[i], pairs[i + 1]);
        }
        return map;
    }

    /** Waits until the topic has so many partitions with leaders; with none, until it is gone. */
    static void settle(AdminClient admin, String topic, int partitions) throws Exception {
        Story.settle(() -> {
            if (!admin.listTopics().names().get().contains(topic)) {
                return partitions == 0;
            }
            TopicDescription description;
            try {
                description = Calls.describe(admin, topic);
            } catch (ExecutionException unknown) {
                // The list and the description come from two looks, and the topic may have gone between them.
                return false;
            }
            return description.partitions().size() == partitions
                    && description.partitions().stream().allMatch(partition -> partition.leader() != null);
        });
    }

    static Row show(Row row, TopicDescription description) {
        TreeSet<String> partitions = new TreeSet<>();
        for (TopicPartitionInfo partition : description.partitions()) {
            partitions.add(partition.partition() + " of " + partition.replicas().size() + " replicas, "
                    + partition.isr().size() + " in sync, led by the "
                    + (partition.replicas().get(0).equals(partition.leader()) ? "first" : "wrong one"));
        }
        return row.with("name", description.name()).with("internal", description.isInternal()).with("partitions", partitions);
    }

    static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    static Config describeConfigs(AdminClient admin, ConfigResource resource) throws Exception {
        return admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
    }

    /** The entries of these names; what is not there is shown as missing. */
    static Row show(Row row, Config config, Collection<String> names) {
        for (String name : names) {
            ConfigEntry entry = config.get(name);
            row.put(name, entry == null ? "missing" : entry.value()
                    + (entry.isDefault() ? ", default" : "")
                    + (entry.isReadOnly() ? ", read-only" : "")
                    + (entry.isSensitive() ? ", sensitive" : ""));
        }
        return row;
    }

    /** Waits until a topic's configuration says so. */
    static void settle(AdminClient admin, String topic, String name, String value) throws Exception {
        Story.settle(() -> {
            ConfigEntry entry = describeConfigs(admin, resource(topic)).get(name);
            return entry != null && value.equals(entry.value());
        });
    }
}
