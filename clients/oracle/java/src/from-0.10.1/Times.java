import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;

/** Offsets asked for: the first, the last, and those of moments. */
final class Times implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        story.step("first and last offsets", rows -> {
            List<TopicPartition> partitions = client.partitions("times", 2);
            client.fill(partitions.get(0), 10);
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer()) {
                rows.row().with("first", shown(consumer.beginningOffsets(partitions)))
                        .with("last", shown(consumer.endOffsets(partitions)));
            }
        });
        story.step("offsets for times", rows -> {
            List<TopicPartition> partitions = client.partitions("moments", 2);
            TopicPartition filled = partitions.get(0);
            client.fill(filled, 10);
            try (KafkaConsumer<byte[], byte[]> consumer = client.consumer()) {
                for (long after : Arrays.asList(-1000L, 0L, 1L, 10L, 45L, 90L, 91L, 1000L)) {
                    Map<TopicPartition, OffsetAndTimestamp> found =
                            consumer.offsetsForTimes(Collections.singletonMap(filled, Client.BASE_MS + after));
                    OffsetAndTimestamp at = found.get(filled);
                    rows.row().with("after", after).with("offset", at == null ? null : at.offset())
                            .with("timestamp", at == null ? null : Client.shown(at.timestamp()));
                }
                TopicPartition empty = partitions.get(1);
                OffsetAndTimestamp none = consumer.offsetsForTimes(Collections.singletonMap(empty, 0L)).get(empty);
                rows.row().put("in an empty partition", none == null ? null : none.offset());
            }
        });
    }

    private static Map<String, Long> shown(Map<TopicPartition, Long> offsets) {
        Map<String, Long> shown = new TreeMap<>();
        offsets.forEach((partition, offset) -> shown.put(partition.toString(), offset));
        return shown;
    }
}
