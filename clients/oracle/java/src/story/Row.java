import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;

/** One observation: a JSON object whose keys are sorted. */
final class Row extends TreeMap<String, Object> {
    /** Longer values are shown as their digest. */
    private static final int SHOWN_BYTES_MAX = 64;

    Row with(String key, Object value) {
        put(key, value);
        return this;
    }

    /** Bytes as a reader sees them: null, text, hexadecimal digits if they are none, a digest if they are many. */
    static String bytes(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        if (bytes.length > SHOWN_BYTES_MAX) {
            try {
                byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes);
                return bytes.length + " bytes, sha256 " + hex(digest);
            } catch (NoSuchAlgorithmException missing) {
                throw new IllegalStateException("every Java has SHA-256", missing);
            }
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException noText) {
            return "0x" + hex(bytes);
        }
    }

    private static String hex(byte[] bytes) {
        return String.format("%0" + 2 * bytes.length + "x", new BigInteger(1, bytes));
    }

    @Override
    public String toString() {
        StringBuilder json = new StringBuilder();
        write(json, this);
        return json.toString();
    }

    private static void write(StringBuilder json, Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            json.append(value);
        } else if (value instanceof Map) {
            String separator = "{";
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                json.append(separator);
                quote(json, entry.getKey().toString());
                json.append(": ");
                write(json, entry.getValue());
                separator = ", ";
            }
            json.append(((Map<?, ?>) value).isEmpty() ? "{}" : "}");
        } else if (value instanceof Collection) {
            String separator = "[";
            for (Object element : (Collection<?>) value) {
                json.append(separator);
                write(json, element);
                separator = ", ";
            }
            json.append(((Collection<?>) value).isEmpty() ? "[]" : "]");
        } else {
            quote(json, value.toString());
        }
    }

    private static void quote(StringBuilder json, String text) {
        json.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        json.append('"');
    }
}
