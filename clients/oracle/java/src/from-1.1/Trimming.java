import java.util.Collections;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Partitions added to topics, and records removed from their beginning. */
final class Trimming implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            story.step("add partitions", rows -> {
                TopicPartition first = client.partition("grows");
                client.fill(first, 2);
                add(admin, first.topic(), 4);
                Admins.settle(admin, first.topic(), 4);
                Admins.show(rows.row(), Calls.describe(admin, first.topic()));
                TopicPartition last = new TopicPartition(first.topic(), 3);
                client.fill(last, 3);
                rows.row().with("records in the first", client.readAll(first).size())
                        .with("records in the last", client.readAll(last).size());
                for (int count : new int[] {4, 2, 0, -1}) {
                    rows.row().with("to", count).with("error", Story.error(() -> add(admin, first.topic(), count)));
                }
                rows.row().put("to an unknown topic", Story.error(() -> add(admin, story.name("unknown"), 3)));
            });
            story.step("delete records", rows -> {
                TopicPartition partition = client.partition("trimmed");
                client.fill(partition, 8);
                for (long before : new long[] {3, 2, 0, 1000, -2, -1, 8}) {
                    rows.row().with("before", before).with("low watermark", Story.error(() -> trim(admin, partition, before)));
                    try (KafkaConsumer<byte[], byte[]> consumer = client.consumer()) {
                        rows.row().with("first", consumer.beginningOffsets(Collections.singletonList(partition)).get(partition))
                                .with("last", consumer.endOffsets(Collections.singletonList(partition)).get(partition));
                    }
                    if (before == 3) {
                        Client.show(rows.row(), client.readAll(partition).get(0));
                    }
                }
                client.fill(partition, 1);
                Client.show(rows.row(), client.readAll(partition).get(0));
            });
        }
    }

    private static Object add(AdminClient admin, String topic, int count) throws Exception {
        return admin.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(count))).all().get();
    }

    private static long trim(AdminClient admin, TopicPartition partition, long before) throws Exception {
        return admin.deleteRecords(Collections.singletonMap(partition, RecordsToDelete.beforeOffset(before)))
                .lowWatermarks().get(partition).get().lowWatermark();
    }
}
