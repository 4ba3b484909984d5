import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;

/** Prints what java.util.Properties reads from many small files. `java PropertiesCases.java > properties.txt` */
class PropertiesCases {
    static final String[] WRITTEN = {
        "listeners=PLAINTEXT\\://127.0.0.1\\:19777",
        "num.partitions 3",
        "a\\ key=x", "a\\=b\\:c = v", "a : : b", "a = = b", "a  =  b  ", "a\t\f:\tb\t", "=v", " : v", "key", "key=", "key\\",
        "a=\\u0041\\u00e9\\uD83D\\uDE00", "\\u006b=v", "a=\\u12g4", "a=\\u123", "a=\\U0041", "a=\\u004",
        "a=\\t\\n\\r\\f\\q\\\\\\\"\\'\\ ", "a=one\\\n   two\\\n\tthree", "a=one\\\n\n  b=2", "a=one\\\\\nb=2", "a=one\\\\\\\n  two",
        "# c\\\n a=1", "! c\n a=1\n #d", "  # c = d\na=1", "a=1 # not a comment", "a=1\\\n# still the value",
        "a\\\n  b=c", "a\\\n =c", "a=1\r\nb=2\rc=3\n\r\nd=4", "a=1\\\r\n   2\r\nb\\\r3", "a=1\na=2", "\\\n#c\na=1", "\\\n\n", "a=\\",
        "\f a=1\f", "a=b\\u0020", "a=\\u0020b", "a=x\\\\\\\\", "a\\\\=b", "a\\\\\\=b", "\\#a=1", "\\!a=1", "a\\tb=c", "",
        "\n\n  \n", "a=1\n#", "!",
    };
    static final String ALPHABET = "aabbcc==:: \t\f\\\\\\\\\n\n\r#!un0041";

    static String shown(String s) {
        StringBuilder out = new StringBuilder();
        for (char c : s.toCharArray()) {
            switch (c) {
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\f' -> out.append("\\f");
                case '\\' -> out.append("\\\\");
                default -> {
                    if (c < 0x20 || c > 0x7e) out.append(String.format("\\u%04x", (int) c));
                    else out.append(c);
                }
            }
        }
        return out.toString();
    }

    /** The file, and its keys and values in order; "malformed" alone where Java refuses it. Fields stand between bars. */
    static void print(String file) throws Exception {
        StringBuilder line = new StringBuilder(shown(file));
        try {
            Properties read = new Properties();
            read.load(new ByteArrayInputStream(file.getBytes(StandardCharsets.ISO_8859_1)));
            Map<String, String> sorted = new TreeMap<>();
            read.forEach((k, v) -> sorted.put((String) k, (String) v));
            // What a file leaves that ends in a lone backslash depends on how it ends.
            if (sorted.getOrDefault("", "x").isEmpty()) return;
            sorted.forEach((k, v) -> line.append('|').append(shown(k)).append('|').append(shown(v)));
        } catch (IllegalArgumentException e) {
            line.append("|malformed");
        }
        System.out.println(line);
    }

    public static void main(String[] args) throws Exception {
        for (String file : WRITTEN) print(file);
        Random random = new Random(20);
        for (int i = 0; i < 600; i++) {
            StringBuilder file = new StringBuilder();
            for (int left = 1 + random.nextInt(24); left > 0; left--) {
                file.append(ALPHABET.charAt(random.nextInt(ALPHABET.length())));
            }
            print(file.toString());
        }
    }
}
