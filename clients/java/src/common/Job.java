import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One command and its `--key value` options, as in clients/README.md. */
final class Job {
    final String command;
    private final Map<String, String> options = new HashMap<>();

    Job(String[] words) {
        if (words.length == 0) {
            throw new IllegalArgumentException("empty job: a command is codecs, produce, consume or serve");
        }
        command = words[0];
        for (int i = 1; i < words.length; i += 2) {
            if (!words[i].startsWith("--") || i + 1 == words.length) {
                throw new IllegalArgumentException("expected --key value, found '" + words[i] + "'");
            }
            options.put(words[i].substring(2), words[i + 1]);
        }
    }

    String text(String key) {
        String value = options.get(key);
        if (value == null) {
            throw new IllegalArgumentException(command + " needs --" + key);
        }
        return value;
    }

    String text(String key, String otherwise) {
        return options.getOrDefault(key, otherwise);
    }

    int number(String key) {
        return Integer.parseInt(text(key));
    }

    int number(String key, int otherwise) {
        String value = options.get(key);
        return value == null ? otherwise : Integer.parseInt(value);
    }

    boolean flag(String key) {
        return Boolean.parseBoolean(text(key, "false"));
    }

    List<String> list(String key) {
        return Arrays.asList(text(key).split(","));
    }

    /** How many records to consume, or -1 for "up to the end as it is now". */
    long until() {
        String until = text("until");
        return until.equals("end") ? -1 : Long.parseLong(until);
    }
}
