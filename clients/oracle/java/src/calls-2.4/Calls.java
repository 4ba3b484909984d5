import java.time.Duration;
import java.util.Collection;
import java.util.Collections;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** What 2.4 to 3.0 call otherwise than their successors: the descriptions of topics. */
final class Calls {
    static final boolean CREATES_TOPICS = true;

    private Calls() {}

    static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer, long ms) {
        return consumer.poll(Duration.ofMillis(ms));
    }

    static void seekToBeginning(KafkaConsumer<byte[], byte[]> consumer, Collection<TopicPartition> partitions) {
        consumer.seekToBeginning(partitions);
    }

    static void seekToEnd(KafkaConsumer<byte[], byte[]> consumer, Collection<TopicPartition> partitions) {
        consumer.seekToEnd(partitions);
    }

    static OffsetAndMetadata committed(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        return consumer.committed(Collections.singleton(partition)).get(partition);
    }

    static Future<RecordMetadata> send(
            KafkaProducer<byte[], byte[]> producer, TopicPartition to, long timestamp, byte[] key, byte[] value) {
        return producer.send(new ProducerRecord<>(to.topic(), to.partition(), timestamp, key, value));
    }

    static void show(Row row, ConsumerRecord<byte[], byte[]> record) {
        row.with("timestamp", Client.shown(record.timestamp())).with("timestamp type", record.timestampType());
        Headers.show(row, record);
    }

    static void create(String bootstrap, String topic, int partitions) throws Exception {
        try (AdminClient admin = Admins.connect(bootstrap)) {
            Admins.create(admin, new NewTopic(topic, partitions, (short) 1));
        }
    }

    static TopicDescription describe(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(Collections.singletonList(topic)).all().get().get(topic);
    }
}
