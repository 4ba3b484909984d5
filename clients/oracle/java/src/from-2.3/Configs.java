import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;

/** A topic's configuration changed entry by entry. */
final class Configs implements Chapter {
    private static final List<String> NAMES = Arrays.asList("cleanup.policy", "max.message.bytes", "retention.ms");

    @Override
    public void tell(Story story, Client client) {
        String topic = story.name("configured");
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            story.step("alter configs by entry", rows -> {
                Admins.create(admin, Admins.topic(topic, 1, "retention.ms", "1000000"));
                alter(admin, topic, OpType.SET, "retention.ms", "2000000");
                alter(admin, topic, OpType.SET, "max.message.bytes", "500000");
                alter(admin, topic, OpType.APPEND, "cleanup.policy", "compact");
                Admins.settle(admin, topic, "cleanup.policy", "delete,compact");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
                alter(admin, topic, OpType.SUBTRACT, "cleanup.policy", "delete");
                alter(admin, topic, OpType.DELETE, "max.message.bytes", "");
                alter(admin, topic, OpType.DELETE, "segment.ms", "");
                Admins.settle(admin, topic, "max.message.bytes", "1048588");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
                alter(admin, topic, true, OpType.SET, "retention.ms", "3000000");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
            });
            story.step("names of configs", rows -> {
                TreeSet<String> names = new TreeSet<>();
                Admins.describeConfigs(admin, Admins.resource(topic)).entries().forEach(entry -> names.add(entry.name()));
                rows.row().put("all", names);
            });
            story.step("alter configs by entry badly", rows -> {
                refuse(admin, topic, rows, OpType.SET, "no.such.config", "1");
                refuse(admin, topic, rows, OpType.SET, "retention.ms", "long");
                refuse(admin, topic, rows, OpType.SET, "max.message.bytes", "-1");
                refuse(admin, topic, rows, OpType.SET, "cleanup.policy", "burn");
                refuse(admin, topic, rows, OpType.APPEND, "retention.ms", "1");
                refuse(admin, topic, rows, OpType.DELETE, "no.such.config", "");
                refuse(admin, story.name("unknown"), rows, OpType.SET, "retention.ms", "1");
            });
        }
    }

    private static void refuse(AdminClient admin, String topic, Story.Rows rows, OpType type, String name, String value) {
        rows.row().with("change", type + " " + name + "=" + value)
                .with("error", Story.error(() -> alter(admin, topic, type, name, value)));
    }

    private static Object alter(AdminClient admin, String topic, OpType type, String name, String value) throws Exception {
        return alter(admin, topic, false, type, name, value);
    }

    private static Object alter(AdminClient admin, String topic, boolean validateOnly, OpType type, String name, String value)
            throws Exception {
        return admin.incrementalAlterConfigs(
                Collections.singletonMap(Admins.resource(topic), Collections.singletonList(
                        new AlterConfigOp(new ConfigEntry(name, value), type))),
                new AlterConfigsOptions().validateOnly(validateOnly)).all().get();
    }
}
