import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Every codec with every acks, keys and values of every kind, and what comes back of it. */
final class Producing implements Chapter {
    private static final byte[] LARGE = Client.noise(300_000, 7);
    private static final byte[] TOO_LARGE = Client.noise(1_200_000, 8);

    static List<String> codecs() {
        List<String> codecs = new ArrayList<>(Arrays.asList("none", "gzip", "snappy", "lz4"));
        // A client that knows zstd brings it along.
        if (Producing.class.getClassLoader().getResource("com/github/luben/zstd/Zstd.class") != null) {
            codecs.add("zstd");
        }
        return codecs;
    }

    @Override
    public void tell(Story story, Client client) {
        for (String codec : codecs()) {
            story.step("produce " + codec, rows -> {
                TopicPartition partition = client.partition("produce-" + codec);
                for (String acks : Arrays.asList("1", "all", "0")) {
                    List<Long> offsets = new ArrayList<>();
                    try (KafkaProducer<byte[], byte[]> producer = client.producer(
                            "compression.type", codec, "acks", acks, "linger.ms", "20", "batch.size", "100000")) {
                        for (Future<RecordMetadata> sent : send(producer, partition)) {
                            offsets.add(sent.get().offset());
                        }
                    }
                    rows.row().with("acks", acks).with("offsets", offsets);
                }
                // Nobody says when what needs no acknowledgement has come.
                try (KafkaConsumer<byte[], byte[]> consumer = client.consumer()) {
                    consumer.assign(Arrays.asList(partition));
                    Story.settle(() -> Client.end(consumer, partition) == 15);
                }
                for (ConsumerRecord<byte[], byte[]> record : client.readAll(partition)) {
                    Client.show(rows.row(), record);
                }
            });
        }
        story.step("produce too large", rows -> {
            TopicPartition partition = client.partition("too-large");
            try (KafkaProducer<byte[], byte[]> producer = client.producer()) {
                rows.row().put("error", Story.error(
                        () -> Calls.send(producer, partition, Client.BASE_MS, null, TOO_LARGE).get().offset()));
                rows.row().put("next offset", Calls.send(producer, partition, Client.BASE_MS, null, null).get().offset());
            }
        });
        story.step("produce to an invalid topic", rows -> {
            try (KafkaProducer<byte[], byte[]> producer = client.producer("max.block.ms", "1000")) {
                rows.row().put("error", Story.errorClass(
                        () -> producer.send(new ProducerRecord<>(story.name("a topic"), new byte[1])).get().offset()));
            }
        });
        story.step("partitions of a topic", rows -> {
            TopicPartition partition = client.partition("partitions-of");
            try (KafkaProducer<byte[], byte[]> producer = client.producer()) {
                rows.row().put("count", producer.partitionsFor(partition.topic()).size());
            }
        });
    }

    private static List<Future<RecordMetadata>> send(KafkaProducer<byte[], byte[]> producer, TopicPartition to) {
        byte[] odd = {0, (byte) 200, 13, 10};
        return Arrays.asList(
                Calls.send(producer, to, Client.BASE_MS, null, Client.bytes("no key")),
                Calls.send(producer, to, Client.BASE_MS + 2, new byte[0], Client.bytes("empty key")),
                Calls.send(producer, to, Client.BASE_MS + 1, Client.bytes("key"), null),
                Calls.send(producer, to, Client.BASE_MS + 3, odd, new byte[0]),
                Calls.send(producer, to, Client.BASE_MS + 4, Client.bytes("large"), LARGE));
    }
}
