import java.util.Collections;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.common.TopicPartition;

/** Topics deleted, looked at afterwards, and created again. */
final class Deleting implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        String topic = story.name("deleted");
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            story.step("delete topic", rows -> {
                TopicPartition partition = client.partition("deleted");
                client.fill(partition, 3);
                admin.deleteTopics(Collections.singleton(topic)).all().get();
                Admins.settle(admin, topic, 0);
                rows.row().with("listed", admin.listTopics().names().get().contains(topic))
                        .with("describe", Story.error(() -> Calls.describe(admin, topic)))
                        .with("configs", Story.error(() -> Admins.describeConfigs(admin, Admins.resource(topic))));
            });
            story.step("delete unknown topic", rows -> rows.row().put("error",
                    Story.error(() -> admin.deleteTopics(Collections.singleton(topic)).all().get())));
            story.step("create deleted topic again", rows -> {
                TopicPartition partition = client.partition("deleted");
                client.fill(partition, 1);
                rows.row().put("records", client.readAll(partition).size());
            });
        }
    }
}
