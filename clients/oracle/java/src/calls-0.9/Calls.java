import java.util.Collection;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** What 0.9 calls otherwise than its successors: no timestamps, no headers, partitions as arrays. */
final class Calls {
    static final boolean CREATES_TOPICS = false;

    private Calls() {}

    static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer, long ms) {
        return consumer.poll(ms);
    }

    static void seekToBeginning(KafkaConsumer<byte[], byte[]> consumer, Collection<TopicPartition> partitions) {
        consumer.seekToBeginning(partitions.toArray(new TopicPartition[0]));
    }

    static void seekToEnd(KafkaConsumer<byte[], byte[]> consumer, Collection<TopicPartition> partitions) {
        consumer.seekToEnd(partitions.toArray(new TopicPartition[0]));
    }

    static OffsetAndMetadata committed(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        return consumer.committed(partition);
    }

    /** Records had no timestamps yet. */
    static Future<RecordMetadata> send(
            KafkaProducer<byte[], byte[]> producer, TopicPartition to, long timestamp, byte[] key, byte[] value) {
        return producer.send(new ProducerRecord<>(to.topic(), to.partition(), key, value));
    }

    static void show(Row row, ConsumerRecord<byte[], byte[]> record) {
    }

    static void create(String bootstrap, String topic, int partitions) {
        throw new UnsupportedOperationException("this client is older than the admin client");
    }
}
