import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Makes producers and consumers, and does what every chapter needs. */
final class Client {
    /**
     * The first timestamp that is given to records: recent, as Kafka removes what is older than its retention when it
     * likes. It is shown as 1700000000000.
     */
    static final long BASE_MS = System.currentTimeMillis() - 1_800_000;

    private final Story story;

    Client(Story story) {
        this.story = story;
    }

    static Object shown(long timestamp) {
        return timestamp < 0 ? timestamp : 1_700_000_000_000L + timestamp - BASE_MS;
    }

    KafkaProducer<byte[], byte[]> producer(String... pairs) {
        Properties config = config(pairs);
        config.putIfAbsent("acks", "all");
        config.putIfAbsent("linger.ms", "2");
        config.putIfAbsent("retries", "100");
        config.putIfAbsent("request.timeout.ms", "5000");
        config.putIfAbsent("delivery.timeout.ms", "10000");
        config.putIfAbsent("max.block.ms", "10000");
        config.putIfAbsent("retry.backoff.ms", "20");
        config.putIfAbsent("max.request.size", "4000000");
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Old consumers insist on a group even for assigned partitions, though they then never join it. */
    KafkaConsumer<byte[], byte[]> consumer(String... pairs) {
        Properties config = config(pairs);
        config.putIfAbsent("group.id", story.name("unused"));
        config.putIfAbsent("enable.auto.commit", "false");
        config.putIfAbsent("auto.offset.reset", "earliest");
        config.putIfAbsent("fetch.max.wait.ms", "50");
        config.putIfAbsent("heartbeat.interval.ms", "100");
        config.putIfAbsent("retry.backoff.ms", "20");
        config.putIfAbsent("group.protocol", "classic");
        // A client this old may go without a word that reaches the broker.
        config.putIfAbsent("session.timeout.ms", Calls.CREATES_TOPICS ? "15000" : "6000");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private Properties config(String... pairs) {
        Properties config = new Properties();
        config.put("bootstrap.servers", story.bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            config.put(pairs[i], pairs[i + 1]);
        }
        return config;
    }

    /** Creates topics until there are the partitions that were asked for: old clients create one topic for each. */
    List<TopicPartition> partitions(String name, int count) throws Exception {
        List<TopicPartition> partitions = new ArrayList<>();
        if (Calls.CREATES_TOPICS) {
            Calls.create(story.bootstrap, story.name(name), count);
            for (int p = 0; p < count; p++) {
                partitions.add(new TopicPartition(story.name(name), p));
            }
        } else {
            try (KafkaProducer<byte[], byte[]> producer = producer()) {
                for (int t = 0; t < count; t++) {
                    // Asking for the metadata of a topic creates it.
                    producer.partitionsFor(story.name(name) + "-" + t);
                    partitions.add(new TopicPartition(story.name(name) + "-" + t, 0));
                }
            }
        }
        return partitions;
    }

    TopicPartition partition(String name) throws Exception {
        return partitions(name, 1).get(0);
    }

    static List<String> topics(Collection<TopicPartition> partitions) {
        TreeSet<String> topics = new TreeSet<>();
        for (TopicPartition partition : partitions) {
            topics.add(partition.topic());
        }
        return new ArrayList<>(topics);
    }

    /** Fills a partition with records "value 0" on, ten milliseconds apart. */
    void fill(TopicPartition partition, int records) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            for (int i = 0; i < records; i++) {
                Calls.send(producer, partition, BASE_MS + 10L * i, bytes("key " + i), bytes("value " + i)).get();
            }
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Bytes that no codec makes smaller, always the same. */
    static byte[] noise(int length, long seed) {
        byte[] bytes = new byte[length];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    /** Polls until there are so many records, in the order of each partition. */
    static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        while (records.size() < count && !Thread.currentThread().isInterrupted()) {
            for (ConsumerRecord<byte[], byte[]> record : Calls.poll(consumer, 100)) {
                records.add(record);
            }
        }
        return records;
    }

    /** Reads a partition from its beginning until its present end. */
    List<ConsumerRecord<byte[], byte[]>> readAll(TopicPartition partition) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(Collections.singletonList(partition));
            long end = end(consumer, partition);
            Calls.seekToBeginning(consumer, Collections.singletonList(partition));
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
            while (consumer.position(partition) < end && !Thread.currentThread().isInterrupted()) {
                for (ConsumerRecord<byte[], byte[]> record : Calls.poll(consumer, 100)) {
                    records.add(record);
                }
            }
            return records;
        }
    }

    static long end(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        Calls.seekToEnd(consumer, Collections.singletonList(partition));
        return consumer.position(partition);
    }

    static Row show(Row row, ConsumerRecord<byte[], byte[]> record) {
        row.with("offset", record.offset()).with("key", Row.bytes(record.key())).with("value", Row.bytes(record.value()));
        Calls.show(row, record);
        return row;
    }

    /** Partitions as "topic-number", sorted. */
    static List<String> names(Collection<TopicPartition> partitions) {
        String[] names = partitions.stream().map(TopicPartition::toString).toArray(String[]::new);
        Arrays.sort(names);
        return Arrays.asList(names);
    }
}
