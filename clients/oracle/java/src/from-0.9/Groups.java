import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** What a group remembers: offsets committed in every way and found again by the next member. */
final class Groups implements Chapter {
    private static final int RECORDS = 6;

    @Override
    public void tell(Story story, Client client) {
        remembered(story, client);
        refused(story, client);
        story.step("group: commits by itself", rows -> {
            TopicPartition partition = client.partition("auto");
            client.fill(partition, RECORDS);
            String group = story.name("auto");
            try (KafkaConsumer<byte[], byte[]> consumer =
                    client.consumer("group.id", group, "enable.auto.commit", "true")) {
                consumer.subscribe(Collections.singletonList(partition.topic()));
                Client.read(consumer, RECORDS);
            }
            rows.row().put("committed", committed(client, group, partition));
        });
        story.step("group: pattern", rows -> {
            List<TopicPartition> partitions = client.partitions("pattern", 2);
            client.fill(partitions.get(0), 2);
            client.fill(partitions.get(1), 2);
            try (KafkaConsumer<byte[], byte[]> consumer =
                    client.consumer("group.id", story.name("pattern"), "metadata.max.age.ms", "500")) {
                consumer.subscribe(Pattern.compile(Pattern.quote(story.name("pat")) + "tern.*"), ignoring());
                Client.read(consumer, 4);
                rows.row().put("has", Client.names(consumer.assignment()));
            }
        });
        story.step("group: without members", rows -> {
            TopicPartition partition = client.partition("memberless");
            client.fill(partition, RECORDS);
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", story.name("memberless"))) {
                consumer.assign(Collections.singletonList(partition));
                Client.read(consumer, RECORDS);
                rows.row().put("before", shown(Calls.committed(consumer, partition)));
                consumer.commitSync();
                rows.row().put("after", shown(Calls.committed(consumer, partition)));
            }
        });
    }

    private static void remembered(Story story, Client client) {
        Map<String, Long> halves = new TreeMap<>();
        String group = story.name("halves");
        TopicPartition[] all = new TopicPartition[3];
        story.step("group: the first commits a half", rows -> {
            client.partitions("halves", all.length).toArray(all);
            for (TopicPartition partition : all) {
                client.fill(partition, RECORDS);
            }
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group)) {
                consumer.subscribe(Client.topics(Arrays.asList(all)));
                Client.read(consumer, RECORDS * all.length);
                rows.row().put("has", Client.names(consumer.assignment()));
                rows.row().put("before", shown(Calls.committed(consumer, all[0])));
                commit(consumer, all[0], 3, "in one go");
                commit(consumer, all[1], 2, "");
                rows.row().put("asynchronous", async(consumer, all[2], 4));
                for (TopicPartition partition : all) {
                    OffsetAndMetadata committed = Calls.committed(consumer, partition);
                    rows.row().with("partition", partition).with("committed", shown(committed));
                    halves.put(partition.toString(), committed.offset());
                }
                consumer.seek(all[0], 1);
                rows.row().put("position does not follow", consumer.position(all[0]));
            }
        });
        story.step("group: the second goes on", rows -> {
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group)) {
                consumer.subscribe(Client.topics(Arrays.asList(all)));
                int left = 0;
                for (long committed : halves.values()) {
                    left += RECORDS - (int) committed;
                }
                Map<String, Long> first = new TreeMap<>();
                for (ConsumerRecord<byte[], byte[]> record : Client.read(consumer, left)) {
                    first.putIfAbsent(record.topic() + "-" + record.partition(), record.offset());
                }
                rows.row().put("first offsets", first);
                consumer.commitSync();
                for (TopicPartition partition : all) {
                    rows.row().with("partition", partition).with("committed", shown(Calls.committed(consumer, partition)))
                            .with("position", consumer.position(partition));
                }
            }
        });
    }

    private static void refused(Story story, Client client) {
        story.step("group: commits that are refused", rows -> {
            TopicPartition partition = client.partition("refused");
            client.fill(partition, RECORDS);
            String group = story.name("refused");
            char[] much = new char[5000];
            Arrays.fill(much, 'x');
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group);
                    KafkaConsumer<byte[], byte[]> stranger = client.consumer("group.id", group)) {
                consumer.subscribe(Collections.singletonList(partition.topic()));
                Client.read(consumer, RECORDS);
                rows.row().put("much metadata", Story.errorClass(() -> commit(consumer, partition, 1, new String(much))));
                stranger.assign(Collections.singletonList(partition));
                rows.row().put("by a stranger", Story.errorClass(() -> commit(stranger, partition, 1, "")));
                rows.row().put("committed", shown(Calls.committed(consumer, partition)));
                rows.row().put("past the end", Story.errorClass(() -> commit(consumer, partition, 1000, "")));
                rows.row().put("committed", shown(Calls.committed(consumer, partition)));
            }
        });
        story.step("group: members that are refused", rows -> {
            List<TopicPartition> partitions = client.partitions("choosy", 2);
            List<String> topics = Client.topics(partitions);
            String group = story.name("choosy");
            String strategy = "partition.assignment.strategy";
            String assignor = "org.apache.kafka.clients.consumer.R";
            try (Member first = new Member(client.consumer("group.id", group, strategy, assignor + "angeAssignor"), topics)) {
                Member.settle(partitions, first);
                Member.show(rows.row(), first);
                try (Member other =
                        new Member(client.consumer("group.id", group, strategy, assignor + "oundRobinAssignor"), topics)) {
                    rows.row().put("another protocol", other.ended());
                }
            }
            // Less than the broker's `group.min.session.timeout.ms`, be it of the default or as low as the oracle has it.
            try (Member hasty = new Member(client.consumer("group.id", story.name("hasty"),
                    "session.timeout.ms", "50", "heartbeat.interval.ms", "10"), topics)) {
                rows.row().put("short session", hasty.ended());
            }
        });
    }

    private static Object commit(
            KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long offset, String metadata) {
        consumer.commitSync(Collections.singletonMap(partition, new OffsetAndMetadata(offset, metadata)));
        return offset;
    }

    /** Commits without waiting, then polls until the answer has come. */
    private static String async(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long offset)
            throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        offsets.put(partition, new OffsetAndMetadata(offset, "asynchronous"));
        String[] came = new String[1];
        consumer.commitAsync(offsets, (done, error) -> came[0] = error == null ? "committed" : Story.cause(error));
        Story.settle(() -> {
            Calls.poll(consumer, 20);
            return came[0] != null;
        });
        return came[0];
    }

    private static String committed(Client client, String group, TopicPartition partition) {
        try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("group.id", group)) {
            return shown(Calls.committed(consumer, partition));
        }
    }

    static String shown(OffsetAndMetadata committed) {
        return committed == null ? "nothing" : committed.offset() + " '" + committed.metadata() + "'";
    }

    private static ConsumerRebalanceListener ignoring() {
        return new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> lost) {}

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> gained) {}
        };
    }
}
