import java.util.Collections;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Groups as an operator sees them: listed, described, deleted. */
final class GroupAdmin implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            lived(story, client, admin);
            refused(story, admin);
        }
    }

    private static void lived(Story story, Client client, AdminClient admin) {
        String group = story.name("watched");
        story.step("watch a group", rows -> {
            List<TopicPartition> partitions = client.partitions("watched", 4);
            List<String> topics = Client.topics(partitions);
            client.fill(partitions.get(0), 5);
            // Kafka forgets a group without members and offsets when it likes.
            commit(client, group, partitions);
            try (Member first = new Member(client.consumer("group.id", group, "client.id", "one"), topics);
                    Member second = new Member(client.consumer("group.id", group, "client.id", "two"), topics)) {
                Member.settle(partitions, first, second);
                show(rows.row(), describe(admin, group));
                rows.row().put("delete", Story.error(() -> delete(admin, group)));
            }
            Story.settle(() -> describe(admin, group).members().isEmpty());
            show(rows.row(), describe(admin, group));
        });
        story.step("list groups", rows -> {
            TreeSet<String> names = new TreeSet<>();
            for (ConsumerGroupListing listing : admin.listConsumerGroups().all().get()) {
                if (listing.groupId().equals(group) || listing.groupId().equals(story.name("memberless"))) {
                    names.add(listing.groupId() + (listing.isSimpleConsumerGroup() ? ", simple" : ""));
                }
            }
            rows.row().put("groups", names);
        });
        story.step("offsets of a group", rows -> {
            List<TopicPartition> partitions = client.partitions("offsets", 2);
            commit(client, story.name("offsets"), partitions);
            rows.row().put("offsets", offsets(admin, story.name("offsets")));
            show(rows.row(), describe(admin, story.name("offsets")));
        });
        story.step("delete a group", rows -> {
            delete(admin, group);
            rows.row().with("offsets", offsets(admin, group)).with("describe", state(admin, group))
                    .with("delete", Story.error(() -> delete(admin, group)));
        });
    }

    private static void refused(Story story, AdminClient admin) {
        story.step("unknown group", rows -> rows.row().with("describe", state(admin, story.name("nobody")))
                .with("offsets", offsets(admin, story.name("nobody")))
                .with("delete", Story.error(() -> delete(admin, story.name("nobody")))));
        story.step("group without a name", rows -> {
            if (!asksForConsumerGroups()) {
                rows.row().put("describe", state(admin, ""));
            }
            rows.row().put("delete", Story.error(() -> delete(admin, "")));
        });
    }

    /** Whether the client describes groups by ConsumerGroupDescribe first, where a broker serves that: it refuses this name. */
    private static boolean asksForConsumerGroups() {
        try {
            Class.forName("org.apache.kafka.common.requests.ConsumerGroupDescribeRequest");
            return true;
        } catch (ClassNotFoundException older) {
            return false;
        }
    }

    private static void commit(Client client, String group, List<TopicPartition> partitions) {
        try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group)) {
            consumer.assign(partitions);
            for (TopicPartition partition : partitions) {
                consumer.position(partition);
            }
            consumer.commitSync();
        }
    }

    private static ConsumerGroupDescription describe(AdminClient admin, String group) throws Exception {
        return admin.describeConsumerGroups(Collections.singletonList(group)).all().get().get(group);
    }

    private static String state(AdminClient admin, String group) {
        return Story.error(() -> describe(admin, group).state());
    }

    private static Object delete(AdminClient admin, String group) throws Exception {
        return admin.deleteConsumerGroups(Collections.singletonList(group)).all().get();
    }

    static TreeMap<String, String> offsets(AdminClient admin, String group) throws Exception {
        TreeMap<String, String> offsets = new TreeMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                .forEach((partition, committed) -> offsets.put(partition.toString(), Groups.shown(committed)));
        return offsets;
    }

    private static void show(Row row, ConsumerGroupDescription group) {
        TreeSet<String> members = new TreeSet<>();
        group.members().forEach(member -> members.add(
                member.clientId() + " has " + member.assignment().topicPartitions().size() + " partitions"));
        row.with("state", group.state()).with("protocol", group.partitionAssignor())
                .with("simple", group.isSimpleConsumerGroup()).with("members", members)
                .with("coordinated", group.coordinator().port() > 0);
    }
}
