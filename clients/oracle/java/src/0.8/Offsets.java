import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import kafka.api.ConsumerMetadataRequest;
import kafka.api.ConsumerMetadataResponse;
import kafka.common.MessageSizeTooLargeException;
import kafka.common.OffsetAndMetadata;
import kafka.common.OffsetMetadataAndError;
import kafka.common.TopicAndPartition;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.OffsetCommitRequest;
import kafka.javaapi.OffsetFetchRequest;
import kafka.javaapi.OffsetResponse;
import kafka.javaapi.PartitionMetadata;
import kafka.javaapi.TopicMetadata;
import kafka.message.MessageAndOffset;

/** Topics described, fetches that succeed and fail, offsets asked for and committed. */
final class Offsets {
    private static final int RECORDS = 10;

    private Offsets() {}

    static void tell(Story story) {
        try (Simple simple = new Simple(story)) {
            described(story, simple);
            fetched(story, simple);
            listed(story, simple);
            committed(story, simple);
        }
    }

    private static void described(Story story, Simple simple) {
        story.step("describe topic", rows -> {
            TopicMetadata topic = simple.describe(simple.create(story.name("described")));
            for (PartitionMetadata partition : topic.partitionsMetadata()) {
                rows.row().with("error", topic.errorCode()).with("partition", partition.partitionId())
                        .with("error of partition", partition.errorCode()).with("has a leader", partition.leader() != null)
                        .with("replicas", partition.replicas().size()).with("in sync", partition.isr().size());
            }
        });
        story.step("describe invalid topic", rows -> rows.row().put("error", simple.describe(story.name("a topic")).errorCode()));
    }

    private static void fetched(Story story, Simple simple) {
        story.step("fetch", rows -> {
            String topic = simple.create(story.name("fetched"));
            Producing.fill(story, topic, RECORDS);
            for (MessageAndOffset message : simple.read(topic, 4)) {
                Simple.show(rows.row(), message);
            }
            for (int bytes : Arrays.asList(200, 100, 0)) {
                FetchResponse part = simple.fetch(topic, 0, 2, bytes);
                List<Long> whole = new ArrayList<>();
                String end = "none";
                try {
                    for (MessageAndOffset message : part.messageSet(topic, 0)) {
                        whole.add(message.offset());
                    }
                } catch (MessageSizeTooLargeException cut) {
                    end = cut.getClass().getSimpleName();
                }
                rows.row().with("bytes", bytes).with("error", part.errorCode(topic, 0))
                        .with("high watermark", part.highWatermark(topic, 0)).with("whole", whole).with("cut", end);
            }
            for (long offset : Arrays.asList(10L, 11L, 1000L, -1L)) {
                FetchResponse none = simple.fetch(topic, 0, offset, 1000);
                rows.row().with("from", offset).with("error", none.errorCode(topic, 0))
                        .with("high watermark", none.highWatermark(topic, 0));
            }
            rows.row().with("unknown partition", simple.fetch(topic, 5, 0, 1000).errorCode(topic, 5))
                    .with("unknown topic", simple.fetch(story.name("unknown"), 0, 0, 1000).errorCode(story.name("unknown"), 0));
        });
    }

    private static void listed(Story story, Simple simple) {
        story.step("list offsets", rows -> {
            String topic = simple.create(story.name("offsets"));
            Producing.fill(story, topic, RECORDS);
            for (long time : Arrays.asList(Simple.EARLIEST, Simple.LATEST, 0L, Long.MAX_VALUE)) {
                for (int max : Arrays.asList(0, 1, 5)) {
                    OffsetResponse response = simple.offsets(topic, 0, time, max);
                    List<Long> offsets = new ArrayList<>();
                    for (long offset : response.offsets(topic, 0)) {
                        offsets.add(offset);
                    }
                    rows.row().with("time", time).with("at most", max).with("error", response.errorCode(topic, 0))
                            .with("offsets", offsets);
                }
            }
            rows.row().put("unknown partition", simple.offsets(topic, 5, Simple.LATEST, 1).errorCode(topic, 5));
        });
    }

    private static void committed(Story story, Simple simple) {
        String group = story.name("group");
        story.step("find coordinator", rows -> {
            kafka.consumer.SimpleConsumer scala =
                    new kafka.consumer.SimpleConsumer(simple.host, simple.port, 5000, 100_000, Simple.CLIENT);
            ConsumerMetadataResponse[] found = new ConsumerMetadataResponse[1];
            Story.settle(() -> {
                found[0] = scala.send(new ConsumerMetadataRequest(group, (short) 0, 1, Simple.CLIENT));
                return found[0].errorCode() == 0;
            });
            scala.close();
            rows.row().with("error", found[0].errorCode()).with("found", found[0].coordinatorOpt().isDefined());
        });
        story.step("commit offsets", rows -> {
            String topic = simple.create(story.name("committed"));
            TopicAndPartition partition = new TopicAndPartition(topic, 0);
            char[] much = new char[5000];
            Arrays.fill(much, 'x');
            fetch(rows, simple, group, partition);
            for (OffsetAndMetadata offset : Arrays.asList(
                    new OffsetAndMetadata(7, "said", -1), new OffsetAndMetadata(3, "", -1),
                    new OffsetAndMetadata(4, new String(much), -1), new OffsetAndMetadata(1000, "far", -1))) {
                rows.row().put("commit", commit(simple, group, partition, offset));
                fetch(rows, simple, group, partition);
            }
            TopicAndPartition unknown = new TopicAndPartition(story.name("unknown"), 0);
            rows.row().put("commit of an unknown topic", commit(simple, group, unknown, new OffsetAndMetadata(1, "", -1)));
            fetch(rows, simple, group, unknown);
        });
    }

    private static short commit(Simple simple, String group, TopicAndPartition partition, OffsetAndMetadata offset) {
        Map<TopicAndPartition, OffsetAndMetadata> offsets = Collections.singletonMap(partition, offset);
        OffsetCommitRequest request = new OffsetCommitRequest(group, offsets, 1, Simple.CLIENT, (short) 1);
        return simple.consumer.commitOffsets(request).errorCode(partition);
    }

    private static void fetch(Story.Rows rows, Simple simple, String group, TopicAndPartition partition) {
        OffsetMetadataAndError committed = simple.consumer.fetchOffsets(new OffsetFetchRequest(
                group, Collections.singletonList(partition), (short) 1, 1, Simple.CLIENT)).offsets().get(partition);
        rows.row().with("offset", committed.offset()).with("metadata", committed.metadata()).with("error", committed.error());
    }
}
