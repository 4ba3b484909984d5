import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import kafka.javaapi.producer.Producer;
import kafka.message.MessageAndOffset;
import kafka.producer.KeyedMessage;
import kafka.producer.ProducerConfig;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Every codec with every acks, by both producers. */
final class Producing {
    private static final byte[] LARGE = noise(300_000);
    private static final byte[] TOO_LARGE = noise(1_200_000);

    private Producing() {}

    static void tell(Story story) {
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4")) {
            story.step("produce " + codec, rows -> {
                try (Simple simple = new Simple(story)) {
                    String topic = simple.create(story.name("produce-" + codec));
                    for (String acks : Arrays.asList("1", "all", "0")) {
                        List<Long> offsets = new ArrayList<>();
                        try (KafkaProducer<byte[], byte[]> producer = producer(story, codec, acks)) {
                            for (Future<RecordMetadata> sent : send(producer, topic)) {
                                offsets.add(sent.get().offset());
                            }
                        }
                        rows.row().with("acks", acks).with("offsets", offsets);
                    }
                    read(simple, rows, topic, 15);
                }
            });
        }
        for (String codec : Arrays.asList("none", "gzip", "snappy")) {
            story.step("produce in Scala " + codec, rows -> {
                try (Simple simple = new Simple(story)) {
                    String topic = simple.create(story.name("scala-" + codec));
                    for (String acks : Arrays.asList("1", "-1", "0")) {
                        scala(story, topic, codec, acks);
                    }
                    read(simple, rows, topic, 9);
                }
            });
        }
        story.step("produce too large", rows -> {
            try (Simple simple = new Simple(story);
                    KafkaProducer<byte[], byte[]> producer = producer(story, "none", "all")) {
                String topic = simple.create(story.name("too-large"));
                rows.row().put("error", Story.error(
                        () -> producer.send(new ProducerRecord<>(topic, 0, null, TOO_LARGE)).get().offset()));
                rows.row().put("next offset", producer.send(new ProducerRecord<>(topic, 0, null, new byte[0])).get().offset());
            }
        });
    }

    private static KafkaProducer<byte[], byte[]> producer(Story story, String codec, String acks) {
        Properties config = new Properties();
        config.put("bootstrap.servers", story.bootstrap);
        config.put("compression.type", codec);
        config.put("acks", acks);
        config.put("linger.ms", "20");
        config.put("batch.size", "100000");
        config.put("max.request.size", "4000000");
        config.put("retries", "100");
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static List<Future<RecordMetadata>> send(KafkaProducer<byte[], byte[]> producer, String topic) {
        byte[] odd = {0, (byte) 200, 13, 10};
        return Arrays.asList(
                producer.send(new ProducerRecord<>(topic, 0, null, bytes("no key"))),
                producer.send(new ProducerRecord<>(topic, 0, new byte[0], bytes("empty key"))),
                producer.send(new ProducerRecord<>(topic, 0, bytes("key"), null)),
                producer.send(new ProducerRecord<>(topic, 0, odd, new byte[0])),
                producer.send(new ProducerRecord<>(topic, 0, bytes("large"), LARGE)));
    }

    private static void scala(Story story, String topic, String codec, String acks) {
        Properties config = new Properties();
        config.put("metadata.broker.list", story.bootstrap);
        config.put("compression.codec", codec);
        config.put("request.required.acks", acks);
        config.put("serializer.class", "kafka.serializer.DefaultEncoder");
        Producer<byte[], byte[]> producer = new Producer<>(new ProducerConfig(config));
        producer.send(Arrays.asList(
                new KeyedMessage<>(topic, bytes("no key")),
                new KeyedMessage<>(topic, bytes("key"), bytes("value")),
                new KeyedMessage<>(topic, bytes("key"), LARGE)));
        producer.close();
    }

    private static void read(Simple simple, Story.Rows rows, String topic, long end) throws Exception {
        // Nobody says when what needs no acknowledgement has come.
        Story.settle(() -> simple.end(topic) == end);
        for (MessageAndOffset message : simple.read(topic, 0)) {
            Simple.show(rows.row(), message);
        }
    }

    static void fill(Story story, String topic, int count) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(story, "none", "all")) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, 0, bytes("key " + i), bytes("value " + i))).get();
            }
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Bytes that no codec makes smaller, always the same. */
    private static byte[] noise(int length) {
        byte[] bytes = new byte[length];
        new Random(7).nextBytes(bytes);
        return bytes;
    }
}
