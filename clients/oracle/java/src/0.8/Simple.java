import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import kafka.api.FetchRequestBuilder;
import kafka.api.PartitionOffsetRequestInfo;
import kafka.common.TopicAndPartition;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.OffsetRequest;
import kafka.javaapi.OffsetResponse;
import kafka.javaapi.TopicMetadata;
import kafka.javaapi.TopicMetadataRequest;
import kafka.javaapi.consumer.SimpleConsumer;
import kafka.message.MessageAndOffset;

/** SimpleConsumer, which sends what it is told to the one broker that it knows. */
final class Simple implements AutoCloseable {
    static final String CLIENT = "simple";
    static final long EARLIEST = -2;
    static final long LATEST = -1;

    final SimpleConsumer consumer;
    final String host;
    final int port;

    Simple(Story story) {
        int colon = story.bootstrap.lastIndexOf(':');
        host = story.bootstrap.substring(0, colon);
        port = Integer.parseInt(story.bootstrap.substring(colon + 1));
        consumer = new SimpleConsumer(host, port, 5000, 1_000_000, CLIENT);
    }

    @Override
    public void close() {
        consumer.close();
    }

    TopicMetadata describe(String topic) {
        TopicMetadataRequest request = new TopicMetadataRequest(Collections.singletonList(topic));
        return consumer.send(request).topicsMetadata().get(0);
    }

    /** Asks for a topic until it has a leader; the first question creates it. */
    String create(String topic) throws Exception {
        Story.settle(() -> {
            TopicMetadata description = describe(topic);
            return description.errorCode() == 0 && description.partitionsMetadata().size() == 1
                    && description.partitionsMetadata().get(0).errorCode() == 0;
        });
        return topic;
    }

    OffsetResponse offsets(String topic, int partition, long time, int max) {
        return consumer.getOffsetsBefore(new OffsetRequest(
                Collections.singletonMap(new TopicAndPartition(topic, partition), new PartitionOffsetRequestInfo(time, max)),
                kafka.api.OffsetRequest.CurrentVersion(), CLIENT));
    }

    long end(String topic) {
        return offsets(topic, 0, LATEST, 1).offsets(topic, 0)[0];
    }

    FetchResponse fetch(String topic, int partition, long offset, int bytes) {
        return consumer.fetch(new FetchRequestBuilder().clientId(CLIENT).maxWait(200).minBytes(1)
                .addFetch(topic, partition, offset, bytes).build());
    }

    /** Reads from an offset to the present end. */
    List<MessageAndOffset> read(String topic, long from) {
        List<MessageAndOffset> messages = new ArrayList<>();
        long end = end(topic);
        long next = from;
        while (next < end && !Thread.currentThread().isInterrupted()) {
            for (MessageAndOffset message : fetch(topic, 0, next, 1_000_000).messageSet(topic, 0)) {
                // A compressed set comes as a whole, with what lies before the offset that was asked for.
                if (message.offset() >= next) {
                    messages.add(message);
                    next = message.nextOffset();
                }
            }
        }
        return messages;
    }

    static Row show(Row row, MessageAndOffset message) {
        return row.with("offset", message.offset())
                .with("key", message.message().hasKey() ? Row.bytes(bytes(message.message().key())) : null)
                .with("value", Row.bytes(bytes(message.message().payload())));
    }

    private static byte[] bytes(ByteBuffer buffer) {
        if (buffer == null) {
            return null;
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }
}
