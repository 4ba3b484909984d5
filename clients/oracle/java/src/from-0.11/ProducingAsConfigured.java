import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** What a topic's configuration does with records, headers, and idempotent producers. */
final class ProducingAsConfigured implements Chapter {
    @Override
    public void tell(Story story, Client client) {
        try (AdminClient admin = Admins.connect(story.bootstrap)) {
            refused(story, client, admin, "record over max.message.bytes", Client.noise(5000, 1), "max.message.bytes", "4000");
            byte[] value = Client.bytes("value");
            refused(story, client, admin, "record without key to a compacted topic", value, "cleanup.policy", "compact");
            refused(story, client, admin, "too few replicas", value, "min.insync.replicas", "2");
            refused(story, client, admin, "record from long ago", value, "message.timestamp.before.max.ms", "1000");
            stamped(story, client, admin);
            recompressed(story, client, admin);
        }
        story.step("headers", rows -> {
            TopicPartition partition = client.partition("headers");
            try (KafkaProducer<byte[], byte[]> producer = client.producer()) {
                rows.row().put("offset", Headers.send(producer, partition, Client.BASE_MS).get().offset());
            }
            for (ConsumerRecord<byte[], byte[]> record : client.readAll(partition)) {
                Client.show(rows.row(), record);
            }
        });
        story.step("idempotent", rows -> {
            TopicPartition partition = client.partition("idempotent");
            try (KafkaProducer<byte[], byte[]> producer = client.producer(
                    "enable.idempotence", "true", "batch.size", "60")) {
                Future<RecordMetadata> last = null;
                for (int i = 0; i < 40; i++) {
                    last = Calls.send(producer, partition, Client.BASE_MS + i, null, Client.bytes("value " + i));
                }
                rows.row().put("last offset", last.get().offset());
            }
            StringBuilder values = new StringBuilder();
            for (ConsumerRecord<byte[], byte[]> record : client.readAll(partition)) {
                values.append(Row.bytes(record.value())).append(' ');
            }
            rows.row().put("values", values);
        });
    }

    private static void refused(
            Story story, Client client, AdminClient admin, String what, byte[] value, String config, String setting) {
        story.step("produce: " + what, rows -> {
            TopicPartition partition = new TopicPartition(story.name("refuses-" + config), 0);
            Admins.create(admin, Admins.topic(partition.topic(), 1, config, setting));
            try (KafkaProducer<byte[], byte[]> producer = client.producer("retries", "0", "enable.idempotence", "false")) {
                rows.row().put("error", Story.errorClass(
                        () -> Calls.send(producer, partition, Client.BASE_MS, null, value).get().offset()));
            }
            rows.row().put("records", client.readAll(partition).size());
        });
    }

    private static void stamped(Story story, Client client, AdminClient admin) {
        story.step("log append time", rows -> {
            TopicPartition partition = new TopicPartition(story.name("append-time"), 0);
            Admins.create(admin, Admins.topic(partition.topic(), 1, "message.timestamp.type", "LogAppendTime"));
            RecordMetadata sent;
            long before = System.currentTimeMillis();
            try (KafkaProducer<byte[], byte[]> producer = client.producer("compression.type", "gzip")) {
                sent = Calls.send(producer, partition, Client.BASE_MS, null, Client.bytes("value")).get();
            }
            for (ConsumerRecord<byte[], byte[]> record : client.readAll(partition)) {
                rows.row().with("type", record.timestampType()).with("same as acknowledged", record.timestamp() == sent.timestamp())
                        .with("now", record.timestamp() >= before && record.timestamp() <= System.currentTimeMillis());
            }
        });
    }

    private static void recompressed(Story story, Client client, AdminClient admin) {
        List<String> codecs = new ArrayList<>(Producing.codecs());
        codecs.set(codecs.indexOf("none"), "uncompressed");
        for (String codec : codecs) {
            story.step("topic compresses with " + codec, rows -> {
                TopicPartition partition = new TopicPartition(story.name("compresses-" + codec), 0);
                Admins.create(admin, Admins.topic(partition.topic(), 1, "compression.type", codec));
                try (KafkaProducer<byte[], byte[]> producer = client.producer("compression.type", "gzip", "linger.ms", "50")) {
                    for (int i = 0; i < 3; i++) {
                        Calls.send(producer, partition, Client.BASE_MS + i, null, Client.bytes("value " + i));
                    }
                }
                for (ConsumerRecord<byte[], byte[]> record : client.readAll(partition)) {
                    Client.show(rows.row(), record);
                }
            });
        }
    }
}
