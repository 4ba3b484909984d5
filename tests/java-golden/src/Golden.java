import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

/** Writes the golden record sets of every magic, codec and timestamp type, or checks sets that the broker wrote. */
public class Golden {
    static final long BASE_OFFSET = 100;
    static final long TIMESTAMP = 1_700_000_000_000L;
    static final long APPEND_TIME = 1_800_000_000_000L;
    static final int RECORDS = 5;

    static byte[] key(int i) {
        return i == 1 ? null : ("key-" + i).getBytes(StandardCharsets.UTF_8);
    }

    static byte[] value(int i) {
        return i == 2 ? null : ("value-" + i + "-").repeat(50 * i + 1).getBytes(StandardCharsets.UTF_8);
    }

    static Header[] headers(int magic, int i) {
        if (magic < 2 || i != 3) return new Header[0];
        return new Header[] {new RecordHeader("h", new byte[] {1, 2}), new RecordHeader("null", (byte[]) null)};
    }

    static long timestamp(int i) {
        return TIMESTAMP + (i == 3 ? 1000 : i);
    }

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[1]);
        for (int magic = 0; magic <= 2; magic++) {
            for (CompressionType codec : CompressionType.values()) {
                if (codec == CompressionType.ZSTD && magic < 2) continue;
                for (boolean append : magic == 0 ? new boolean[] {false} : new boolean[] {false, true}) {
                    Path file = folder.resolve("m" + magic + "-" + codec.name + "-" + (append ? "append" : "create") + ".bin");
                    if (args[0].equals("write")) Files.write(file, write((byte) magic, codec, append));
                    else check(file, magic, append);
                }
            }
        }
        System.out.println("ok");
    }

    static byte[] write(byte magic, CompressionType codec, boolean append) {
        TimestampType type = magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE
            : append ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(ByteBuffer.allocate(64 * 1024), magic,
            Compression.of(codec).build(), type, BASE_OFFSET, append ? APPEND_TIME : -1L, -1L, (short) -1, -1,
            false, false, 7, 64 * 1024);
        for (int i = 0; i < RECORDS; i++) builder.append(timestamp(i), key(i), value(i), headers(magic, i));
        ByteBuffer out = builder.build().buffer();
        byte[] bytes = new byte[out.remaining()];
        out.get(bytes);
        return bytes;
    }

    static void check(Path file, int magic, boolean append) throws Exception {
        int i = 0;
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(file))).batches()) {
            batch.ensureValid();
            for (org.apache.kafka.common.record.internal.Record record : batch) {
                record.ensureValid();
                long time = magic == 0 ? -1 : append ? APPEND_TIME : timestamp(i);
                if (record.offset() != BASE_OFFSET + i || record.timestamp() != time || !same(record.key(), key(i))
                    || !same(record.value(), value(i)) || !java.util.Arrays.equals(record.headers(), headers(magic, i)))
                    throw new AssertionError(file + " record " + i + ": " + record);
                i++;
            }
        }
        if (i != RECORDS) throw new AssertionError(file + " holds " + i + " records");
    }

    static boolean same(ByteBuffer got, byte[] want) {
        return want == null ? got == null : got != null && got.equals(ByteBuffer.wrap(want));
    }
}
