import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/**
 * Random messages by what the setters of the generated class take, for messages whose schema is not what the class
 * writes. A setter does not say what may be null or in which version: the class's own writer does, and one that it does
 * not write is made anew.
 */
final class RandomMessage {
    private static final int TRIES = 10_000;
    private final Random random;
    private final boolean unknownTags;

    RandomMessage(Random random, boolean unknownTags) {
        this.random = random;
        this.unknownTags = unknownTags;
    }

    byte[] bytes(Class<?> type, short version) throws Exception {
        Exception last = null;
        for (int i = 0; i < TRIES; i++) {
            var message = (Message) message(type);
            if (random.nextInt(4) == 0) {
                var unknown = new RawTaggedField(300 + random.nextInt(300), blob());
                if (unknownTags) {
                    message.unknownTaggedFields().add(unknown);
                }
            }
            try {
                return Oracle.encode(message, version);
            } catch (NullPointerException | org.apache.kafka.common.errors.UnsupportedVersionException refused) {
                last = refused;
            }
        }
        throw new IllegalStateException("none of " + TRIES + " could be written", last);
    }

    private Object message(Class<?> type) throws ReflectiveOperationException {
        var message = type.getConstructor().newInstance();
        var setters = Arrays.stream(type.getMethods())
            .filter(method -> method.getName().startsWith("set") && method.getParameterCount() == 1
                && method.getReturnType() == type)
            .sorted(Comparator.comparing(Method::getName))
            .toList();
        for (var setter : setters) {
            // Some keep their default.
            if (random.nextInt(6) > 0) {
                setter.invoke(message, value(setter.getGenericParameterTypes()[0]));
            }
        }
        return message;
    }

    private Object value(Type type) throws ReflectiveOperationException {
        if (type instanceof ParameterizedType list) {
            return random.nextInt(6) == 0 ? null : fill(new ArrayList<>(), list);
        }
        var plain = (Class<?>) type;
        if (plain.isPrimitive()) {
            return primitive(plain.getName());
        }
        if (random.nextInt(6) == 0) {
            return null;
        }
        if (Collection.class.isAssignableFrom(plain)) {
            @SuppressWarnings("unchecked")
            var values = (Collection<Object>) plain.getConstructor().newInstance();
            return fill(values, (ParameterizedType) plain.getGenericSuperclass());
        }
        if (plain == String.class) {
            return RandomStruct.TEXTS[random.nextInt(RandomStruct.TEXTS.length)];
        }
        if (plain == byte[].class) {
            return blob();
        }
        if (plain == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        }
        return switch (plain.getSimpleName()) {
            case "Byte", "Short", "Integer", "Long", "Boolean" -> primitive(plain.getSimpleName().toLowerCase());
            default -> {
                if (!Message.class.isAssignableFrom(plain)) {
                    throw new IllegalArgumentException("no values for type " + plain);
                }
                yield message(plain);
            }
        };
    }

    private Collection<Object> fill(Collection<Object> values, ParameterizedType type)
            throws ReflectiveOperationException {
        for (int i = random.nextInt(3); i > 0; i--) {
            values.add(value(type.getActualTypeArguments()[0]));
        }
        return values;
    }

    private Object primitive(String name) {
        return switch (name) {
            case "boolean" -> random.nextBoolean();
            case "byte" -> (byte) random.nextInt();
            case "short" -> (short) random.nextInt();
            case "int", "integer" -> random.nextInt();
            case "long" -> random.nextLong();
            default -> throw new IllegalArgumentException("no values for type " + name);
        };
    }

    private byte[] blob() {
        var bytes = new byte[random.nextInt(30)];
        random.nextBytes(bytes);
        return bytes;
    }
}
