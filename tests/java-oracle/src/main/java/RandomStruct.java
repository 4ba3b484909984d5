import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/** Random values by Kafka's own description of a message in one version. */
final class RandomStruct {
    static final String[] TEXTS = {"", "a", "topic-7", "é試🦀"};
    private final Random random;
    private final boolean unknownTags;

    RandomStruct(Random random, boolean unknownTags) {
        this.random = random;
        this.unknownTags = unknownTags;
    }

    byte[] bytes(Schema schema) {
        var struct = struct(schema);
        var buffer = ByteBuffer.allocate(schema.sizeOf(struct));
        schema.write(buffer, struct);
        return buffer.array();
    }

    private Struct struct(Schema schema) {
        var struct = new Struct(schema);
        for (var bound : schema.fields()) {
            struct.set(bound, value(bound.def.type));
        }
        return struct;
    }

    private Object value(Type type) {
        if (type.isNullable() && random.nextInt(4) == 0) {
            return null;
        }
        if (type instanceof TaggedFields tagged) {
            return tags(tagged);
        }
        if (type instanceof Schema schema) {
            return struct(schema);
        }
        if (type.isArray()) {
            var values = new Object[random.nextInt(3)];
            for (int i = 0; i < values.length; i++) {
                values[i] = value(type.arrayElementType().orElseThrow());
            }
            return values;
        }
        var name = type.toString();
        if (name.contains("STRING")) {
            return TEXTS[random.nextInt(TEXTS.length)];
        }
        if (name.contains("BYTES")) {
            return ByteBuffer.wrap(blob());
        }
        if (name.contains("RECORDS")) {
            return records(ByteBuffer.wrap(blob()));
        }
        return switch (name) {
            case "BOOLEAN" -> random.nextBoolean();
            case "INT8" -> (byte) random.nextInt();
            case "INT16" -> (short) random.nextInt();
            case "UINT16" -> random.nextInt() & 0xffff;
            case "INT32" -> random.nextInt();
            case "UINT32" -> random.nextLong() & 0xffff_ffffL;
            case "INT64" -> random.nextLong();
            case "UUID" -> new Uuid(random.nextLong(), random.nextLong());
            case "FLOAT64" -> random.nextInt() / 64.0;
            default -> throw new IllegalArgumentException("no values for type " + name);
        };
    }

    /** Records of any bytes; their class has changed its package between the releases. */
    private static Object records(ByteBuffer bytes) {
        for (var home : List.of("org.apache.kafka.common.record", "org.apache.kafka.common.record.internal")) {
            try {
                var type = Class.forName(home + ".MemoryRecords");
                return type.getMethod("readableRecords", ByteBuffer.class).invoke(null, bytes);
            } catch (ClassNotFoundException elsewhere) {
                continue;
            } catch (ReflectiveOperationException broken) {
                throw new IllegalStateException(broken);
            }
        }
        throw new IllegalStateException("this release has no MemoryRecords");
    }

    private byte[] blob() {
        var bytes = new byte[random.nextInt(30)];
        random.nextBytes(bytes);
        return bytes;
    }

    /** The known tagged fields: 3.9 has no accessor for them. */
    @SuppressWarnings("unchecked")
    private static Map<Integer, Field> fields(TaggedFields tagged) {
        try {
            var known = TaggedFields.class.getDeclaredField("fields");
            known.setAccessible(true);
            return (Map<Integer, Field>) known.get(tagged);
        } catch (ReflectiveOperationException broken) {
            throw new IllegalStateException(broken);
        }
    }

    private NavigableMap<Integer, Object> tags(TaggedFields tagged) {
        var values = new TreeMap<Integer, Object>();
        int next = 0;
        for (var known : fields(tagged).entrySet()) {
            next = Math.max(next, known.getKey() + 1);
            if (random.nextBoolean()) {
                values.put(known.getKey(), value(known.getValue().type));
            }
        }
        if (random.nextInt(4) == 0) {
            int tag = next + random.nextInt(300);
            var unknown = new RawTaggedField(tag, blob());
            if (unknownTags) {
                values.put(tag, unknown);
            }
        }
        return values;
    }
}
