import java.io.BufferedInputStream;
import java.io.BufferedWriter;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Sends the lines of a file: line i goes to partition i mod N. */
final class Sending {
    private Sending() {}

    static long run(Producer<byte[], byte[]> producer, Job job) throws Exception {
        String topic = job.text("topic");
        int partitions = job.number("partitions");
        AtomicReference<Exception> failure = new AtomicReference<>();
        String log = job.text("log-acks", null);
        BufferedWriter acks = log == null ? null : Files.newBufferedWriter(Paths.get(log));
        long index = 0;
        try (InputStream lines = new BufferedInputStream(Files.newInputStream(Paths.get(job.text("file"))), 1 << 16)) {
            byte[] line;
            while ((line = next(lines)) != null && failure.get() == null) {
                long number = index++;
                producer.send(new ProducerRecord<>(topic, (int) (number % partitions), null, line), (metadata, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                    } else if (acks != null) {
                        try {
                            acks.write(metadata.partition() + "\t" + metadata.offset() + "\t" + number + "\n");
                        } catch (IOException cannotLog) {
                            failure.compareAndSet(null, cannotLog);
                        }
                    }
                });
            }
            producer.flush();
        } finally {
            producer.close();
            if (acks != null) {
                acks.close();
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        return index;
    }

    private static byte[] next(InputStream lines) throws IOException {
        int first = lines.read();
        if (first < 0) {
            return null;
        }
        ByteArrayOutputStream line = new ByteArrayOutputStream(256);
        for (int b = first; b >= 0 && b != '\n'; b = lines.read()) {
            line.write(b);
        }
        return line.toByteArray();
    }
}
