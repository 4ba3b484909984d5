import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.HashMap;
import java.util.Map;

/** What a consumer read: one file a partition, one value a line, led by its offset when asked for. */
final class Sink implements AutoCloseable {
    private final Path directory;
    private final boolean offsets;
    private final Map<String, OutputStream> files = new HashMap<>();
    long records;

    Sink(Job job) throws IOException {
        directory = Paths.get(job.text("out"));
        offsets = job.flag("with-offsets");
        Files.createDirectories(directory);
    }

    void write(String topic, int partition, long offset, byte[] value) throws IOException {
        String name = topic + "-" + partition;
        OutputStream file = files.get(name);
        if (file == null) {
            file = new BufferedOutputStream(Files.newOutputStream(directory.resolve(name)), 1 << 16);
            files.put(name, file);
        }
        if (offsets) {
            file.write((offset + "\t").getBytes(StandardCharsets.US_ASCII));
        }
        file.write(value);
        file.write('\n');
        records++;
    }

    @Override
    public void close() throws IOException {
        for (OutputStream file : files.values()) {
            file.close();
        }
    }
}
