import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Positions of a consumer with partitions of its own: where it seeks, and where it falls when it cannot stay. */
final class Reading implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        story.step("seek", rows -> {
            TopicPartition partition = client.partition("seek");
            List<TopicPartition> only = Collections.singletonList(partition);
            client.fill(partition, 10);
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer()) {
                consumer.assign(only);
                rows.row().with("to", "end").with("position", Client.end(consumer, partition));
                Calls.seekToBeginning(consumer, only);
                rows.row().with("to", "beginning").with("position", consumer.position(partition));
                for (long offset : Arrays.asList(4L, 9L, 0L)) {
                    consumer.seek(partition, offset);
                    Row row = rows.row().with("to", offset).with("position", consumer.position(partition));
                    Client.show(row, Client.read(consumer, 1).get(0));
                }
                consumer.seek(partition, 10);
                int none = 0;
                for (ConsumerRecord<byte[], byte[]> record : Calls.poll(consumer, 200)) {
                    none++;
                }
                rows.row().with("to", 10).with("records", none).with("position", consumer.position(partition));
            }
        });
        for (String reset : Arrays.asList("earliest", "latest", "none")) {
            story.step("out of range, " + reset, rows -> {
                TopicPartition partition = client.partition("range-" + reset);
                client.fill(partition, 4);
                try (KafkaConsumer<byte[], byte[]> consumer = client.consumer("auto.offset.reset", reset)) {
                    consumer.assign(Collections.singletonList(partition));
                    consumer.seek(partition, 1000);
                    rows.row().put("falls to", fallen(consumer, partition));
                }
            });
            story.step("nothing committed, " + reset, rows -> {
                TopicPartition partition = client.partition("fresh-" + reset);
                client.fill(partition, 4);
                try (KafkaConsumer<byte[], byte[]> consumer =
                        client.consumer("auto.offset.reset", reset, "group.id", story.name("fresh-" + reset))) {
                    consumer.assign(Collections.singletonList(partition));
                    rows.row().with("position", Story.error(() -> consumer.position(partition)));
                }
            });
        }
        story.step("small fetches", rows -> {
            TopicPartition partition = client.partition("small-fetches");
            client.fill(partition, 30);
            // Two records and a part of the third; whoever knows `fetch.max.bytes` gets one at least.
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer(
                    "max.partition.fetch.bytes", "200", "fetch.max.bytes", "1", "max.poll.records", "7")) {
                consumer.assign(Collections.singletonList(partition));
                for (ConsumerRecord<byte[], byte[]> record : Client.read(consumer, 30)) {
                    Client.show(rows.row(), record);
                }
            }
        });
    }

    /** Polls a consumer that is out of range until it has a place: that of the first record it reads, or the end. */
    private static Object fallen(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        try {
            while (!Thread.currentThread().isInterrupted()) {
                for (ConsumerRecord<byte[], byte[]> record : Calls.poll(consumer, 50)) {
                    return record.offset();
                }
                if (consumer.position(partition) == 4) {
                    return "the end";
                }
            }
            return "nowhere";
        } catch (RuntimeException lost) {
            return lost.getClass().getSimpleName();
        }
    }
}
