import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Offsets of partitions and groups as an operator sees and sets them; members removed; log directories. */
final class GroupOffsets implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            listed(story, client, admin);
            altered(story, client, admin);
            story.step("remove members", rows -> {
                List<TopicPartition> partitions = client.partitions("removed", 2);
                String group = story.name("removed");
                try (Member member = new Member(client.consumer("group.id", group), Client.topics(partitions))) {
                    Member.settle(partitions, member);
                    int before = member.assignments();
                    admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
                    Story.settle(() -> member.assignments() > before);
                    Member.settle(partitions, member);
                    Member.show(rows.row(), member).put("joined again", member.assignments() > before);
                }
            });
            story.step("log directories", rows -> {
                TopicPartition partition = client.partition("on-disk");
                client.fill(partition, 3);
                int id = admin.describeCluster().nodes().get().iterator().next().id();
                boolean[] found = new boolean[2];
                admin.describeLogDirs(Collections.singleton(id)).allDescriptions().get().get(id).forEach((path, directory) -> {
                    found[0] = true;
                    found[1] |= directory.error() == null && directory.replicaInfos().containsKey(partition)
                            && directory.replicaInfos().get(partition).size() > 0;
                });
                rows.row().with("some", found[0]).with("with the partition", found[1]);
            });
        }
    }

    private static void listed(Story story, Client client, AdminClient admin) {
        story.step("list offsets", rows -> {
            TopicPartition partition = client.partition("list-offsets");
            client.fill(partition, 10);
            Map<String, OffsetSpec> specs = new HashMap<>();
            specs.put("earliest", OffsetSpec.earliest());
            specs.put("latest", OffsetSpec.latest());
            specs.put("before all", OffsetSpec.forTimestamp(Client.BASE_MS - 5));
            specs.put("amid", OffsetSpec.forTimestamp(Client.BASE_MS + 45));
            specs.put("after all", OffsetSpec.forTimestamp(Client.BASE_MS + 1000));
            for (String name : new TreeSet<>(specs.keySet())) {
                rows.row().with("spec", name).with("offset", Story.error(() -> {
                    ListOffsetsResultInfo info = admin.listOffsets(Collections.singletonMap(partition, specs.get(name)))
                            .partitionResult(partition).get();
                    return info.offset() + " at " + Client.shown(info.timestamp());
                }));
            }
            TopicPartition unknown = new TopicPartition(partition.topic(), 7);
            rows.row().put("unknown partition", Story.errorClass(() -> admin.listOffsets(
                    Collections.singletonMap(unknown, OffsetSpec.latest()),
                    new ListOffsetsOptions().timeoutMs(1000)).all().get()));
        });
    }

    private static void altered(Story story, Client client, AdminClient admin) {
        String group = story.name("altered");
        story.step("alter offsets of a group", rows -> {
            List<TopicPartition> partitions = client.partitions("altered", 2);
            for (TopicPartition partition : partitions) {
                client.fill(partition, 5);
            }
            alter(admin, group, partitions.get(0), 2, "set");
            alter(admin, group, partitions.get(1), 4, "");
            rows.row().put("new group", GroupAdmin.offsets(admin, group));
            alter(admin, group, partitions.get(0), 1, "set back");
            rows.row().put("again", GroupAdmin.offsets(admin, group));
            rows.row().put("unknown topic",
                    Story.error(() -> alter(admin, group, new TopicPartition(story.name("unknown"), 0), 1, "")));
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group)) {
                consumer.subscribe(Client.topics(partitions));
                rows.row().put("records left", Client.read(consumer, 5).size());
                rows.row().with("alter with members", Story.error(() -> alter(admin, group, partitions.get(0), 3, "")))
                        .with("delete while subscribed", Story.error(() -> delete(admin, group, partitions)));
            }
            delete(admin, group, partitions.subList(0, 1));
            rows.row().put("one deleted", GroupAdmin.offsets(admin, group));
            rows.row().put("deleted twice", Story.error(() -> delete(admin, group, partitions.subList(0, 1))));
            rows.row().put("of an unknown group", Story.error(() -> delete(admin, story.name("nobody"), partitions)));
        });
    }

    private static Object alter(AdminClient admin, String group, TopicPartition partition, long offset, String metadata)
            throws Exception {
        return admin.alterConsumerGroupOffsets(
                group, Collections.singletonMap(partition, new OffsetAndMetadata(offset, metadata))).all().get();
    }

    private static Object delete(AdminClient admin, String group, List<TopicPartition> partitions) throws Exception {
        return admin.deleteConsumerGroupOffsets(group, new HashSet<>(partitions)).all().get();
    }
}
