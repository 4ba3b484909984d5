import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Headers of records, as they are sent and shown. */
final class Headers {
    private Headers() {}

    /** Sends a record with two headers of one name, an empty one, one without a value and one without a name. */
    static Future<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, TopicPartition to, long timestamp) {
        List<Header> headers = Arrays.asList(
                new RecordHeader("twice", Client.bytes("first")),
                new RecordHeader("twice", Client.bytes("second")),
                new RecordHeader("empty", new byte[0]),
                new RecordHeader("null", (byte[]) null),
                new RecordHeader("", new byte[] {0, (byte) 255}));
        return producer.send(new ProducerRecord<>(
                to.topic(), to.partition(), timestamp, Client.bytes("key"), Client.bytes("value"), headers));
    }

    static void show(Row row, ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(header.key() + "=" + Row.bytes(header.value()));
        }
        row.put("headers", headers);
    }
}
