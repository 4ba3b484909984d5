import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** kafka-clients 0.9.0.1: never negotiates versions, sends magic 0, has neither idempotence nor zstd. */
final class Driver {
    static final String CODECS = "none,gzip,snappy,lz4";

    long produce(Job job) throws Exception {
        if (job.flag("idempotent")) {
            throw new IllegalArgumentException("this client is older than idempotence");
        }
        Properties config = new Properties();
        config.put("bootstrap.servers", job.text("bootstrap"));
        config.put("compression.type", job.text("codec", "none"));
        config.put("acks", job.text("acks", "all"));
        config.put("max.in.flight.requests.per.connection", "1");
        config.put("retries", "100");
        config.put("linger.ms", "5");
        config.put("batch.size", "65536");
        config.put("max.block.ms", "" + job.number("timeout", 60) * 1000);
        config.put("request.timeout.ms", "10000");
        return Sending.run(new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer()), job);
    }

    long consume(Job job) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", job.text("bootstrap"));
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("check.crcs", "true");
        boolean group = job.text("mode").equals("group");
        // This client insists on a group even for assigned partitions, though it then never joins it.
        config.put("group.id", job.text("group", "unused"));
        long until = job.until();
        long deadline = System.nanoTime() + job.number("timeout", 60) * 1_000_000_000L;
        try (Sink sink = new Sink(job);
                KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (String topic : job.list("topics")) {
                for (int p = 0; p < job.number("partitions"); p++) {
                    all.add(new TopicPartition(topic, p));
                }
            }
            Map<TopicPartition, Long> next = new HashMap<>();
            Map<TopicPartition, Long> ends = until < 0 ? ends(job, all) : null;
            if (group) {
                consumer.subscribe(job.list("topics"), new ConsumerRebalanceListener() {
                    @Override
                    public void onPartitionsRevoked(Collection<TopicPartition> lost) {}

                    @Override
                    public void onPartitionsAssigned(Collection<TopicPartition> gained) {
                        for (TopicPartition p : gained) {
                            next.put(p, consumer.position(p));
                        }
                    }
                });
            } else {
                consumer.assign(all);
                consumer.seekToBeginning(all.toArray(new TopicPartition[0]));
                for (TopicPartition p : all) {
                    next.put(p, consumer.position(p));
                }
            }
            while (!done(sink, until, next, ends)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("timed out after " + sink.records + " records, at " + next);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(200)) {
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    if (until < 0 ? record.offset() < ends.get(partition) : sink.records < until) {
                        sink.write(record.topic(), record.partition(), record.offset(), record.value());
                        next.put(partition, record.offset() + 1);
                    }
                }
            }
            if (group) {
                Map<TopicPartition, OffsetAndMetadata> commits = new HashMap<>();
                next.forEach((p, offset) -> commits.put(p, new OffsetAndMetadata(offset)));
                consumer.commitSync(commits);
            }
            return sink.records;
        }
    }

    /** This client has no call for end offsets: a second consumer seeks there and says where it stands. */
    private static Map<TopicPartition, Long> ends(Job job, List<TopicPartition> all) {
        Properties config = new Properties();
        config.put("bootstrap.servers", job.text("bootstrap"));
        config.put("group.id", "unused");
        config.put("enable.auto.commit", "false");
        Map<TopicPartition, Long> ends = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(all);
            consumer.seekToEnd(all.toArray(new TopicPartition[0]));
            for (TopicPartition p : all) {
                ends.put(p, consumer.position(p));
            }
        }
        return ends;
    }

    private static boolean done(Sink sink, long until, Map<TopicPartition, Long> next, Map<TopicPartition, Long> ends) {
        if (until >= 0) {
            return sink.records >= until;
        }
        for (Map.Entry<TopicPartition, Long> end : ends.entrySet()) {
            Long at = next.get(end.getKey());
            if (at == null || at < end.getValue()) {
                return false;
            }
        }
        return true;
    }
}
