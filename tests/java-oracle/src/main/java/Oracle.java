import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.Schema;

/**
 * Answers questions about messages with Kafka's own generated classes, one request after another on standard input:
 *
 * <pre>
 * request   op (i8)  name (u16 length, UTF-8)  version (i16)  argument (i32 length, bytes)
 * answer    status (i8: 0 done, 1 failed)  result (i32 length, bytes; the reason if failed)
 *
 * op 0  versions of a message: none if this release lacks it, else lowest and highest (two i16)
 * op 1  decode the argument and encode it again; the result is what was encoded
 * op 2  make a message from the seed in the argument (i64) by the schema of the class; the result is its bytes. One more
 *       byte says whether it has tagged fields that the schema does not know; all else is the same with and without
 * op 3  the same by the setters of the class
 * </pre>
 */
public final class Oracle {
    private static final List<String> PLACES = List.of(
        "org.apache.kafka.common.message.%sData", "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s", "org.apache.kafka.coordinator.share.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s");

    public static void main(String[] args) throws IOException {
        var in = new DataInputStream(new BufferedInputStream(System.in));
        var out = new DataOutputStream(new BufferedOutputStream(System.out));
        while (true) {
            byte op;
            try {
                op = in.readByte();
            } catch (EOFException end) {
                return;
            }
            var name = in.readUTF();
            var version = in.readShort();
            var argument = in.readNBytes(in.readInt());
            byte status = 0;
            byte[] result;
            try {
                result = answer(op, name, version, argument);
            } catch (Exception | Error failure) {
                status = 1;
                result = failure.toString().getBytes("UTF-8");
            }
            out.writeByte(status);
            out.writeInt(result.length);
            out.write(result);
            out.flush();
        }
    }

    private static byte[] answer(byte op, String name, short version, byte[] argument) throws Exception {
        var type = find(name);
        return switch (op) {
            case 0 -> type == null ? new byte[0] : versions(type);
            case 1 -> recode(type, version, argument);
            case 2 -> random(type, version, new Random(ByteBuffer.wrap(argument).getLong()), argument[8] != 0);
            case 3 -> new RandomMessage(new Random(ByteBuffer.wrap(argument).getLong()), argument[8] != 0)
                .bytes(type, version);
            default -> throw new IllegalArgumentException("op " + op);
        };
    }

    private static Class<?> find(String name) {
        // The API had another name in 3.9.
        for (var candidate : List.of(name, name.replace("ListConfigResources", "ListClientMetricsResources"))) {
            for (var place : PLACES) {
                try {
                    return Class.forName(String.format(place, candidate));
                } catch (ClassNotFoundException elsewhere) {
                    continue;
                }
            }
        }
        return null;
    }

    private static short bound(Class<?> type, String which) throws ReflectiveOperationException {
        return type.getField(which + "_SUPPORTED_VERSION").getShort(null);
    }

    private static byte[] versions(Class<?> type) throws ReflectiveOperationException {
        return ByteBuffer.allocate(4).putShort(bound(type, "LOWEST")).putShort(bound(type, "HIGHEST")).array();
    }

    private static byte[] recode(Class<?> type, short version, byte[] bytes) throws Exception {
        var message = (Message) type.getConstructor().newInstance();
        var buffer = ByteBuffer.wrap(bytes);
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes left over");
        }
        return encode(message, version);
    }

    static byte[] encode(Message message, short version) {
        var cache = new ObjectSerializationCache();
        var encoded = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(encoded), cache, version);
        if (encoded.hasRemaining()) {
            throw new IllegalStateException("size and bytes written differ");
        }
        return encoded.array();
    }

    private static byte[] random(Class<?> type, short version, Random random, boolean unknownTags) throws Exception {
        var schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        var bytes = new RandomStruct(random, unknownTags).bytes(schemas[version]);
        // Once through the generated class: what it writes is the canonical form.
        return recode(type, version, bytes);
    }
}
