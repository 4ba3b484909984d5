import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;

/** AlterConfigs, which replaces all of a topic's configuration; clients lost it with 4.0. */
final class OldConfigs implements Chapter {
    private static final List<String> NAMES = Arrays.asList("retention.ms", "segment.bytes");

    @Override
    public void tell(Story story, Client client) {
        String topic = story.name("configured-of-old");
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            story.step("alter configs", rows -> {
                Admins.create(admin, Admins.topic(topic, 1, "retention.ms", "1000000", "segment.bytes", "20000000"));
                Admins.settle(admin, topic, "retention.ms", "1000000");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
                alter(admin, topic, false, "retention.ms", "2000000");
                Admins.settle(admin, topic, "retention.ms", "2000000");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
                alter(admin, topic, true, "retention.ms", "3000000");
                Admins.show(rows.row(), Admins.describeConfigs(admin, Admins.resource(topic)), NAMES);
            });
            story.step("alter configs badly", rows -> rows.row()
                    .with("unknown name", Story.error(() -> alter(admin, topic, false, "no.such.config", "1")))
                    .with("no number", Story.error(() -> alter(admin, topic, false, "retention.ms", "long")))
                    .with("unknown topic", Story.error(() -> alter(admin, story.name("unknown"), false, "retention.ms", "1"))));
        }
    }

    @SuppressWarnings("deprecation")
    private static Object alter(AdminClient admin, String topic, boolean validateOnly, String... pairs) throws Exception {
        List<ConfigEntry> entries = new ArrayList<>();
        Admins.map(pairs).forEach((name, value) -> entries.add(new ConfigEntry(name, value)));
        return admin.alterConfigs(
                Collections.singletonMap(Admins.resource(topic), new Config(entries)),
                new AlterConfigsOptions().validateOnly(validateOnly)).all().get();
    }
}
