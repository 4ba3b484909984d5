import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;

/** Writes magic 0 message sets with the client of Kafka 0.9, as its producer does: offsets from 0. */
public class GoldenOld {
    public static void main(String[] args) throws Exception {
        for (CompressionType codec : CompressionType.values()) {
            MemoryRecords records = MemoryRecords.emptyRecords(ByteBuffer.allocate(64 * 1024), codec);
            for (int i = 0; i < 5; i++) {
                byte[] key = i == 1 ? null : ("key-" + i).getBytes("UTF-8");
                byte[] value = i == 2 ? null : ("value-" + i + "-").repeat(50 * i + 1).getBytes("UTF-8");
                records.append(i, key, value);
            }
            records.close();
            byte[] bytes = new byte[records.sizeInBytes()];
            records.buffer().get(bytes);
            Files.write(Path.of(args[0]).resolve("old-" + codec.name + ".bin"), bytes);
        }
    }
}
